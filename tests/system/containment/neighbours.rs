//! A16, and what VMs on one machine can do to each other without a gate.

use super::{often, vm};
use crate::{in_bochs, passed};
use xtask::Scenario;

/// A receiver on a processor of its own changes descriptors and rings while the sender's window reads them. The sender is told of faults;
/// nothing in the window ever faults itself, and the sender's other peer keeps its memory. The receiver also starts its device anew sixty
/// times: each time its processor has to call the sender's back from wherever it is (rule G13), and goes on.
fn scribbled(ring: &str) {
    let all = [
        often(),
        vm("attacker", "attack", &format!("scribble {ring}"), "gate = \"isolated\"\ncpu = 1"),
        vm("sender", "attack", "send", "gate = \"isolated\"\ncpu = 0\npeers = [\"attacker\", \"victim\"]"),
        vm("victim", "attack", "victim", "gate = \"isolated\"\ncpu = 1\npeers = [\"sender\"]"),
    ];
    let report = in_bochs(&Scenario { processors: 2, timeout: 300, ..Scenario::new(all.concat()) });
    passed(&report);
    assert!(report.says("words, 0 changed"), "{:#?}", report.lines);
    assert!(report.says("[sender] sender: ") && !report.says(" 0 faults"), "{:#?}", report.lines);
    assert_eq!(report.exits["sender"]["aborts"], 0);
}

#[test]
fn rings_changed_under_the_window_in_bochs_are_faults_and_no_more_split() {
    scribbled("split");
}

#[test]
fn rings_changed_under_the_window_in_bochs_are_faults_and_no_more_in_order() {
    scribbled("in-order");
}

#[test]
fn rings_changed_under_the_window_in_bochs_are_faults_and_no_more_packed() {
    scribbled("packed");
}

/// Breakpoint addresses, CR2, the base of SWAPGS and vectors are in no VMCS: the monitor keeps each VM's.
#[test]
fn registers_of_one_vm_in_bochs_are_not_seen_by_the_next() {
    let all = ["a", "b"]
        .map(|name| vm(name, "attack", if name == "a" { "leftovers 1" } else { "leftovers 2" }, "gate = \"isolated\""));
    let report = in_bochs(&Scenario::new(all.concat()));
    passed(&report);
    for name in ["a", "b"] {
        assert!(
            report.says(&format!("[{name}] leftovers: [0, 0, 0, 0, 0, 0], vectors clean true, kept true")),
            "{:#?}",
            report.lines
        );
    }
}
