//! G13, A17: a peer that dies and is started again while its sender calls.

use super::{numbers, often, run, run_on, vm};
use crate::passed;

/// Runs a receiver of ring format `ring` that dies `times` times, wherever it is, and its sender.
///
/// Each frame that the sender was told was accepted is there, once, whole, in order, over all lives: the next life
/// finds in its memory what one life did not take. The sender finds a full ring or a peer that is not ready, and no
/// other error, and goes on.
fn killed(ring: &str, times: u64) {
    let all = [
        often(),
        vm("sender", "attack", "persist", "gate = \"isolated\"\ncpu = 0\npeers = [\"receiver\"]"),
        vm(
            "receiver",
            "attack",
            &format!("lives {ring} {times}"),
            &format!("gate = \"isolated\"\ncpu = 1\nrestarts = {times}"),
        ),
    ];
    let report = run_on(2, 300, &all.concat());
    passed(&report);
    let [receiver, sender] = ["receiver", "sender"].map(|name| &report.exits[name]);
    assert_eq!([receiver["restarts"], receiver["triple_fault"]], [times, times]);
    // The device is taken away at each end, and the last life did that before.
    assert_eq!(receiver["revocations"], times + 2);
    let [sent, _] = numbers(&report, "[sender] sent ");
    assert!(report.says(&format!("[receiver] received {sent} wrong 0")), "{:#?}", report.lines);
    assert!(report.says(" 0 aborted, 0 after"), "{:#?}", report.lines);
    // Traffic ran when the receiver died, and its end found the sender in gate or window.
    let [busy, left] = numbers(&report, &format!("[receiver] lives {}: frames in ", times + 1));
    assert!(busy > times * 3 / 4 && left > times && sender["crossing"] > times / 2, "{:#?}", report.lines);
}

#[test]
fn a_peer_that_dies_and_starts_again_in_bochs_loses_nothing_that_was_accepted_split() {
    killed("split", 200);
}

#[test]
fn a_peer_that_dies_and_starts_again_in_bochs_loses_nothing_that_was_accepted_packed() {
    killed("packed", 200);
}

/// A sender that ends and starts again has to register again, and its peer's queue goes on where it was, in each
/// format.
#[test]
fn a_sender_that_starts_again_in_bochs_goes_on_where_it_was() {
    for ring in ["split", "in-order", "packed"] {
        let all = [
            vm("sender", "attack", "again 30", "gate = \"isolated\"\nrestarts = 30\npeers = [\"receiver\"]"),
            vm("receiver", "attack", &format!("receive {ring}"), "gate = \"isolated\""),
        ];
        let report = run(&all.concat());
        passed(&report);
        let frames = (0..=30).map(|life| 32 * (life % 3 + 1)).sum::<u64>();
        assert!(report.says(&format!("[sender] sent {frames} in 31 lives")), "{:#?}", report.lines);
        assert!(report.says(&format!("[receiver] received {frames} wrong 0")), "{:#?}", report.lines);
        assert_eq!([report.exits["sender"]["restarts"], report.exits["sender"]["aborts"]], [30, 31]);
    }
}
