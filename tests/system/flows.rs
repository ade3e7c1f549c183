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
