//! No exits on the way of a packet.

use crate::{embedded, example, in_bochs, passed};
use xtask::{Report, Scenario};

const PACKETS: u64 = 1_000_000;

/// Sends a million packets while the receiver runs on a processor of its own. The exits are the monitor's own count.
fn million(gate: &str) -> Report {
    let scenario = example("proof").gate(gate).expect("a manifest");
    let report = in_bochs(&Scenario { processors: 2, timeout: 400, ..scenario });
    passed(&report);
    assert!(report.says(&format!("[b] received {PACKETS} lost 0 doubled 0 torn 0 reordered 0")));
    assert!(report.says("vm a: ") && report.says("processor 0") && report.says("processor 1"));
    report
}

#[test]
fn a_million_packets_through_the_isolated_gate_in_bochs_cause_no_exit() {
    let report = million("isolated");
    assert!(report.says(&format!("[a] proof packets={PACKETS} exits=0")), "{:#?}", report.lines);
    assert_eq!(report.exits["a"]["aborts"], 0);
}

#[test]
fn a_million_packets_through_the_guarded_gate_in_bochs_cause_no_exit() {
    assert!(million("guarded").says(&format!("[a] proof packets={PACKETS} exits=0")));
}

/// The same counter does count: a burst of 32 is an exit when the monitor does the work.
#[test]
fn every_hypercall_in_bochs_is_an_exit() {
    let scenario = example("proof").gate("hypercall").expect("a manifest").args("a", "proof 3200").expect("a manifest");
    let report = in_bochs(&Scenario { processors: 2, timeout: 120, ..scenario });
    passed(&report);
    let exits = report.lines.iter().find_map(|line| line.strip_prefix("[a] proof packets=3200 exits="));
    assert!(exits.and_then(|exits| exits.parse::<u64>().ok()).is_some_and(|exits| exits >= 100), "{exits:?}");
}

/// The sender is faster than the receiver, so the ring is full again and again. Fewer frames are accepted, and none is
/// lost.
#[test]
fn a_full_ring_loses_nothing() {
    let scenario = example("proof").args("a", "proof 3000000 burst=256").expect("a manifest");
    let report = embedded(&scenario);
    passed(&report);
    assert!(report.says("[b] received 3000000 lost 0 doubled 0 torn 0 reordered 0"), "{:#?}", report.lines);
}
