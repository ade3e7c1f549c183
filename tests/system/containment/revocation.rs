//! G13, A8, A16, A17: a peer that is taken away while its sender calls.

use super::{run_on, vm};
use crate::passed;
use xtask::Report;

/// A receiver of ring format `ring` that takes its device away `times` times, and its sender, on `processors`.
fn revoked(ring: &str, times: u64, processors: usize) -> Report {
    let all = [
        vm("sender", "attack", &format!("insist {times}"), "gate = \"isolated\"\ncpu = 0\npeers = [\"receiver\"]"),
        vm("receiver", "attack", &format!("revoke {ring} {times}"), "gate = \"isolated\"\ncpu = 1"),
    ];
    let report = run_on(processors, &all.concat());
    passed(&report);
    // Its end takes it away once more.
    assert_eq!(report.exits["receiver"]["revocations"], times + 1);
    report
}

/// The receiver's processor calls the sender's back each time, wherever that is. All that the sender was told was accepted arrives once,
/// whole, in order, over all of that; and it goes on.
#[test]
fn a_peer_taken_away_10000_times_in_bochs_loses_nothing_that_was_accepted() {
    let report = revoked("in-order", std::env::var("TIMES").unwrap().parse().unwrap(), 2);
    eprintln!("{:#?}", report.lines);
}
