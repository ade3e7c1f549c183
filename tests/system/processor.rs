//! The check of a real processor's VMFUNC, with fewer rounds, and with faults that it has to find.

use crate::{example, in_bochs, passed};
use xtask::Report;

fn check(how: &str) -> Report {
    in_bochs(&example("processor").args("check", &format!("processor {how}")).expect("a manifest"))
}

#[test]
fn the_check_of_the_processor_in_bochs_finds_nothing_wrong() {
    let report = check("2000");
    passed(&report);
    assert!(report.says("[check] processor: 2000 rounds, 0 aborted, 0 stale, 0 open"), "{:#?}", report.lines);
    // Each round's entry behind the store found the window closed.
    let of_check = |counter: &str| report.exits["check"].get(counter).copied().unwrap_or(0);
    assert_eq!((of_check("aborts"), of_check("vmfunc")), (2000, 2000), "{:?}", report.exits);
}

#[test]
fn the_check_of_the_processor_in_bochs_tells_what_is_wrong() {
    for (planted, seen) in [
        ("list", "100 aborted, 0 stale, 0 open"),
        ("bytes", "0 aborted, 100 stale, 0 open"),
        ("open", "0 aborted, 0 stale, 100 open"),
    ] {
        let report = check(&format!("100 {planted}"));
        assert!(report.says(&format!("[check] processor: 100 rounds, {seen}")), "{planted}: {:#?}", report.lines);
        assert!(report.says("do not use this processor") && report.check().is_err(), "{planted}: {:#?}", report.lines);
    }
}
