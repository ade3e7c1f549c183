//! One capture through Open vSwitch, alone and behind an in-VM switch.

use super::captures;
use super::lab::{Lab, fenced};
use crate::{embedded, passed};
use sluice_openvswitch::{ETHER_TYPE, Sent};
use std::collections::BTreeMap;
use std::path::Path;
use xtask::{Report, Scenario};

/// Packets and bytes.
pub type Counts = [u64; 2];

/// What came of one run.
#[derive(Debug)]
pub struct Run {
    /// What left by the second port.
    pub frames: Vec<Vec<u8>>,
    /// The flows of the datapath as Open vSwitch says them, without names and counters: their names, and its counters.
    pub datapath: BTreeMap<String, (String, Counts)>,
    /// What the VM's table counted, by the names of the flows.
    pub table: BTreeMap<String, Counts>,
    /// The counters of the in-VM switch that are not 0, and those of the launcher's side.
    pub counters: BTreeMap<String, u64>,
}

/// Ticks between two bursts of 32 frames of the sender, of some 3 GHz.
pub const GAP: u64 = 20_000_000;
/// Ticks of silence after which nothing more comes.
const QUIET: u64 = 9_000_000_000;

/// Has Open vSwitch keep flows that are not used for `idle` milliseconds, and take frames of any length.
pub fn keep_flows(lab: &Lab, idle: u32) {
    lab.vsctl(&["set", "Open_vSwitch", ".", &format!("other_config:max-idle={idle}")]);
    for port in ["p0", "p1"] {
        lab.vsctl(&["set", "interface", port, "mtu_request=9000"]);
    }
}

/// Lets `frames` through Open vSwitch alone.
pub fn alone(lab: &Lab, rules: &[&str], frames: &[Vec<u8>]) -> Run {
    let mut switch = lab.open();
    lab.rules(&switch, rules);
    let mut out = Vec::new();
    // More at once could be too many for its queues.
    for some in frames.chunks(16) {
        for frame in some {
            assert_eq!(switch.send(0, frame).expect("a frame"), Sent::Queued);
        }
        for (port, frame) in fenced(&mut switch, &[0]) {
            assert_eq!(port, 1, "{frame:02x?}");
            out.push(frame);
        }
    }
    Run { frames: out, datapath: datapath(lab), table: BTreeMap::new(), counters: BTreeMap::new() }
}

/// Returns the scenario in which `frames` go from VM p0 through an in-VM switch, which Open vSwitch is behind, to VM
/// p1, with `gap` ticks between two bursts. `more` are keys of the flow table.
pub fn scenario(folder: &Path, frames: &[Vec<u8>], gap: u64, more: &str) -> Scenario {
    let folder = folder.display();
    let mut scenario = Scenario::new(format!(
        r#"
quantum_ticks = 4000000000
[[vm]]
name = "p0"
ram_mib = 16
image = "pcap"
args = "replay in.pcap to=switch gap={gap}"
gate = "isolated"
peers = ["switch"]
modules = ["in.pcap"]
[[vm]]
name = "switch"
ram_mib = 16
image = "switch"
args = "p1"
gate = "isolated"
peers = ["p0", "p1"]
[vm.flows]
switch = "openvswitch"
folder = "{folder}"
entries = 131072
lists = 4096
{more}
[[vm]]
name = "p1"
ram_mib = 16
image = "pcap"
args = "record out.pcap quiet={QUIET}"
gate = "isolated"
"#
    ));
    scenario.modules.push(("in.pcap".into(), captures::write(frames)));
    scenario.timeout = 1_200;
    scenario
}

/// Counters of the frames that a queue had no room for.
const NO_ROOM: [&str; 6] = ["full", "hold_full", "slow_full", "again_lost", "dropped", "stale"];

/// Lets `frames` through an in-VM switch, which Open vSwitch is behind, as fast as this machine can without a full
/// queue: a process that gets no time loses what comes, and says so.
pub fn with_vm(lab: &Lab, rules: &[&str], frames: &[Vec<u8>]) -> Run {
    let mut run = None;
    for gap in [GAP, 4 * GAP, 16 * GAP] {
        let counters = &run.insert(at_pace(lab, rules, frames, gap)).counters;
        if NO_ROOM.iter().all(|name| super::of(counters, name) == 0) {
            break;
        }
        println!("with {gap} ticks between bursts: {counters:?}");
    }
    run.expect("a run")
}

/// Does that with `gap` ticks between two bursts.
pub fn at_pace(lab: &Lab, rules: &[&str], frames: &[Vec<u8>], gap: u64) -> Run {
    // The launcher adds the rules of its own tokens.
    let switch = lab.open();
    lab.rules(&switch, rules);
    drop(switch);
    let report = embedded(&scenario(&lab.at(""), frames, gap, ""));
    passed(&report);
    Run {
        frames: captures::read(&report.files["out.pcap"]),
        datapath: datapath(lab),
        table: table(&report),
        counters: counters(&report),
    }
}

/// Returns the flows of the datapath, without those of tokens.
pub fn datapath(lab: &Lab) -> BTreeMap<String, (String, Counts)> {
    let text = lab.call("dpctl/dump-flows", &["-m", "--no-names"]);
    let tokens = format!("eth_type({ETHER_TYPE:#06x})");
    let lines = text.lines().filter(|line| line.starts_with("ufid:") && !line.contains(&tokens));
    let flows = lines.map(|line| {
        let (mut name, mut counts, mut rest) = (String::new(), [0; 2], Vec::new());
        for part in line.split(", ") {
            match part.split_once(':') {
                Some(("ufid", word)) => name = word.to_owned(),
                Some(("packets", word)) => counts[0] = word.parse().expect("a number"),
                Some(("bytes", word)) => counts[1] = word.parse().expect("a number"),
                Some(("used" | "flags", _)) => {}
                _ => rest.push(part),
            }
        }
        (without_recirculation(&rest.join(", ")), (name, counts))
    });
    let all: Vec<_> = flows.collect();
    let count = all.len();
    let flows: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(flows.len(), count, "two flows are the same: {text}");
    flows
}

/// Returns a flow without the number that what is sent to a controller has: it is another one each time.
fn without_recirculation(flow: &str) -> String {
    let mut parts = flow.split(",recirc_id=");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.trim_start_matches(|it: char| it.is_ascii_digit()))
}

/// Returns what the table counted, of lines such as `[launcher] flow switch UFID packets=1 bytes=60`.
pub fn table(report: &Report) -> BTreeMap<String, Counts> {
    let lines = report.lines.iter().filter_map(|line| line.strip_prefix("[launcher] flow switch "));
    let counts = lines.map(|line| {
        let (name, rest) = line.split_once(' ').expect("counters");
        let numbers = numbers(rest);
        (name.to_owned(), ["packets", "bytes"].map(|name| numbers[name]))
    });
    counts.collect()
}

/// Returns the counters of the lines `flows switch …` and `openvswitch switch …`, and those of the first one where both
/// have a word.
pub fn counters(report: &Report) -> BTreeMap<String, u64> {
    let of = |start: &str| {
        let line = report.lines.iter().find_map(|line| line.strip_prefix(start));
        numbers(line.unwrap_or_else(|| panic!("no {start}: {:#?}", report.lines)))
    };
    let mut counters = of("[launcher] openvswitch switch entries=");
    counters.extend(of("[launcher] flows switch "));
    counters
}

/// Returns the numbers of words such as `packets=1`.
fn numbers(line: &str) -> BTreeMap<String, u64> {
    let pairs = line.split(' ').filter_map(|word| word.split_once('='));
    pairs.filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?))).collect()
}
