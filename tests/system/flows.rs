//! The in-VM switch: frames go by the flows that the host wrote, as scapy has them, and each flow's in order.

use crate::examples::{frames, oracle, run, says};
use crate::{embedded, example, in_bochs, passed};
use std::collections::BTreeMap;
use std::fs;
use xtask::{Report, Scenario, artifacts};

/// Returns what frames of one flow of IPv4 have in common: Ethernet header with tags, protocol, addresses and ports. A
/// frame of anything else is a flow of its own.
fn flow_of(frame: &[u8]) -> Vec<u8> {
    let ip = 14 + 4 * frame[12..].chunks(4).take_while(|tag| tag.starts_with(&[0x81, 0])).count();
    match frame.get(ip - 2..ip + 24) {
        Some([8, 0, 0x45, ..]) => [&frame[..ip], &frame[ip + 9..ip + 10], &frame[ip + 12..ip + 24]].concat(),
        _ => frame.to_vec(),
    }
}

/// Returns the frames of each flow, in order.
fn flows<'f>(frames: &[&'f [u8]]) -> BTreeMap<Vec<u8>, Vec<&'f [u8]>> {
    let mut flows: BTreeMap<_, Vec<&[u8]>> = BTreeMap::new();
    for frame in frames {
        flows.entry(flow_of(frame)).or_default().push(frame);
    }
    flows
}

#[track_caller]
fn forwards_by_flows(runs: impl Fn(&Scenario) -> Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let after = folder.path().join("out.pcap");
    run(oracle("flows.py").args([&artifacts::root().join("examples/captures/mixed.pcap"), &after]));
    let mut scenario = example("switch");
    scenario.manifest.insert_str(0, "report_ticks = 1000000\n");
    let report = runs(&scenario);
    passed(&report);
    let counted = report.lines.iter().filter(|line| line.contains("flows switch entries=")).count();
    assert!(counted > 1, "now and then, and at the end: {:#?}", report.lines);
    let (found, expected) = (&report.files["received.pcap"], fs::read(after).expect("a capture"));
    let (found, expected) = (frames(found), frames(&expected));
    assert_eq!(found.len(), expected.len(), "{:#?}", report.lines);
    let (found, expected) = (flows(&found), flows(&expected));
    for (flow, frames) in &expected {
        assert_eq!(found.get(flow), Some(frames), "{flow:02x?}");
    }
    says(&report, "flows switch entries=");
    says(&report, &format!("forwarded {}", expected.values().map(Vec::len).sum::<usize>()));
}

#[test]
fn the_switch_forwards_by_its_flows() {
    forwards_by_flows(embedded);
}

#[test]
fn the_switch_forwards_by_its_flows_in_bochs() {
    forwards_by_flows(in_bochs);
}

/// Returns a scenario in which a VM that forwards by its in-VM switch is stopped in a burst. Five VMs share
/// a processor. The burst's flow is used early in a turn of the sender's and again at the end of the next one,
/// which takes longer than a flow may be idle; and from one turn to the next takes less.
fn stopped() -> Scenario {
    let [turn, others, idle, revoke] = [40_000, 10_000, 78_000, 8_000];
    let vm = |name: &str, args: String, peer: &str| {
        format!(
            "[[vm]]\nname = \"{name}\"\nram_mib = 16\nimage = \"attack\"\nargs = \"{args}\"\ngate = \"isolated\"\n\
             peers = [\"{peer}\"]\n"
        )
    };
    let mut manifest = format!("quantum_ticks = {turn}\ngrace_ticks = 0\n");
    manifest += &vm("sender", format!("switch {turn}"), "x");
    manifest += &format!("[vm.flows]\nswitch = \"flows.toml\"\nidle_ticks = {idle}\nrevoke_ticks = {revoke}\n");
    ["x", "y", "z", "w"].iter().for_each(|name| manifest += &vm(name, format!("late {others}"), "sender"));
    let mut scenario = Scenario { timeout: 1800, ..Scenario::new(manifest) };
    scenario.modules = vec![("flows.toml".into(), "[[flow]]\nactions = [\"output x\"]\n".into())];
    scenario
}

/// The VM is stopped at every instruction of a burst, in the window too, where that ends the call. Its host removes the
/// burst's flow meanwhile. That is done once the windows are closed, before the VM goes on.
///
/// No frame arrives after that by the flow that is gone: all frames that come late were returned by the host, which had
/// made the flow anew. None that the switch forwarded is lost or doubled.
#[test]
fn consistency_c1_a_vm_stopped_at_any_instruction_of_a_burst_sends_nothing_by_an_old_entry_in_bochs() {
    let report = in_bochs(&stopped());
    passed(&report);
    let said = |prefix: &str| report.lines.iter().find_map(|line| line.strip_prefix(prefix)).expect("a line");
    says(&report, &format!("[x] received {}", said("[sender] sent ")));
    let counts = said("[sender] stopped ").split(' ').filter_map(|word| word.parse::<u64>().ok());
    let [before, within, after, back] = counts.collect::<Vec<_>>().try_into().expect("four numbers");
    assert!(before > 0 && within > 1_000 && after > 0 && back == 0, "one instruction later each time: {report:?}");
    assert!(report.exits["sender"]["aborts"] > 100, "in the window, too: {:?}", report.exits);
}
