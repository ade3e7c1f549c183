//! The check of a real processor's VMFUNC, with fewer rounds, and that it tells what is wrong.

use crate::{example, in_bochs, passed};
use xtask::Report;

fn check(how: &str) -> Report {
    in_bochs(&example("processor").args("check", &format!("processor {how}")).expect("a manifest"))
}

#[test]
fn the_check_of_the_processor_in_bochs_finds_nothing_wrong() {
    let report = check("5000");
    passed(&report);
    assert!(report.says("[check] processor: 5000 rounds, 0 aborted, 0 stale, 0 open"), "{:#?}", report.lines);
    // Those that found the window closed.
    assert_eq!(report.exits["check"]["aborts"], 5, "{:?}", report.exits);
}

#[test]
fn the_check_of_the_processor_in_bochs_tells_what_is_wrong() {
    for (planted, seen) in [
        ("list", "100 aborted, 0 stale, 0 open"),
        ("bytes", "0 aborted, 100 stale, 0 open"),
        ("open", "0 aborted, 0 stale, 1 open"),
    ] {
        let report = check(&format!("100 {planted}"));
        assert!(report.says(&format!("[check] processor: 100 rounds, {seen}")), "{planted}: {:#?}", report.lines);
        assert!(report.says("do not use this processor") && report.check().is_err(), "{planted}: {:#?}", report.lines);
    }
}
