//! G13, A8, A16, A17: a peer that is taken away while its sender calls.

use super::{numbers, often, run_on, vm};
use crate::passed;
use xtask::Report;

/// The number of ticks in which a revocation ends, where no call takes longer than this sender's: 32 frames of 64
/// bytes.
const REVOKED_IN: u64 = 50_000;

/// Runs a receiver of ring format `ring` that takes its device away `times` times, and its sender, on `processors`.
///
/// Each frame that the sender was told was accepted arrived, once, whole, in order, over all of that. The sender finds
/// a full ring or a peer that is not ready, and no other error, and goes on.
fn revoked(ring: &str, times: u64, processors: usize) -> Report {
    let all = [
        format!("quantum_ticks = {}\n", if processors == 1 { 200_000 } else { 20_000 }),
        "watchdog_ticks = 400_000\ngrace_ticks = 20_000\n".into(),
        vm("sender", "attack", &format!("insist {times}"), "gate = \"isolated\"\ncpu = 0\npeers = [\"receiver\"]"),
        vm("receiver", "attack", &format!("revoke {ring} {times}"), "gate = \"isolated\"\ncpu = 1"),
    ];
    let report = run_on(processors, 200 + times / 2, &all.concat());
    passed(&report);
    // The receiver's end takes the device away once more.
    assert_eq!(report.exits["receiver"]["revocations"], times + 1, "{:#?}", report.lines);
    let [sent, _] = numbers(&report, "[sender] sent ");
    assert!(report.says(&format!("[receiver] received {sent} wrong 0")), "{:#?}", report.lines);
    assert!(report.says(" 0 aborted, 1000 after the last"), "{:#?}", report.lines);
    report
}

/// The receiver's processor interrupts the sender's each time, wherever it is: often in gate or window, where the call
/// ends as if nothing had happened, and the next exits before it opens the window.
fn called_back(ring: &str, times: u64) {
    let report = revoked(ring, times, 2);
    let [_, slowest] = numbers(&report, "[receiver] revoked ");
    assert!(slowest < REVOKED_IN, "{slowest}");
    let exits = &report.exits["sender"];
    assert!(
        exits["exception_or_nmi"] >= times && exits["crossing"] > times / 2 && exits["vmfunc"] > times / 4,
        "{exits:?}"
    );
}

#[test]
fn a_peer_taken_away_in_bochs_loses_nothing_that_was_accepted_in_order() {
    called_back("in-order", 1_000);
}

/// See: tests/README.md.
#[test]
#[ignore = "takes minutes"]
fn a_peer_taken_away_10000_times_in_bochs_loses_nothing_that_was_accepted() {
    called_back("in-order", 10_000);
}

#[test]
fn a_peer_taken_away_in_bochs_loses_nothing_that_was_accepted_split() {
    called_back("split", 500);
}

#[test]
fn a_peer_taken_away_in_bochs_loses_nothing_that_was_accepted_packed() {
    called_back("packed", 500);
}

/// On one processor the sender stands still while the device goes and comes again, and finds the device where it was:
/// it must not go on where the ring was. Where the sender's turn ends in the window, its next call makes room for the
/// receiver.
#[test]
fn a_peer_that_comes_again_before_its_sender_looks_in_bochs_starts_anew() {
    for ring in ["split", "in-order", "packed"] {
        let report = revoked(ring, 200, 1);
        assert!(report.exits["sender"]["vmfunc"] > 5, "{:?}", report.exits);
    }
}

/// Each VM waits for the other's processor, at the same time. If they waited for each other, that would not end.
#[test]
fn two_peers_that_take_their_devices_away_in_bochs_do_not_wait_for_each_other() {
    let all = [("a", 0, "b"), ("b", 1, "a")].map(|(name, cpu, peer)| {
        vm(name, "attack", "both 500", &format!("gate = \"isolated\"\ncpu = {cpu}\npeers = [\"{peer}\"]"))
    });
    let report = run_on(2, 120, &(often() + &all.concat()));
    passed(&report);
    for name in ["a", "b"] {
        assert_eq!(report.exits[name]["revocations"], 501, "{:#?}", report.lines);
    }
}
