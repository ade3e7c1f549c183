//! A1, A3, A11: VMFUNC needs no privilege, so any program of a VM's can try. It must not end its VM, nor get anywhere.

use super::{attack, contained, exits, stopped};

/// From ring 3 a call is aborted: the host's tables have no page for programs. In compatibility mode the gate is out of reach, and so is the
/// stub: #UD behind the VMFUNC. The kernel's calls go through as before.
#[test]
fn calls_by_a_program_in_bochs_are_aborted() {
    let report = attack("isolated", "rings");
    let lines = [
        "ring 3: aborted, in ring 3",
        "compatibility mode: exception 6 behind the VMFUNC",
        "ring 0: returned PeerNotReady(peer 0)",
    ];
    contained(&report, 2, &lines);
    assert_eq!(exits(&report, "triple_fault"), 2, "{:?}", report.exits);
}

/// Hypercalls are the kernel's: a program that could end its VM, or register for it, would be one.
#[test]
fn hypercalls_by_a_program_in_bochs_are_exceptions() {
    let report = attack("isolated", "hypercalls");
    contained(&report, 0, &["vmcall ring 3: 7 of 7 refused"]);
}

/// #UD for the program.
#[test]
fn a_view_or_leaf_that_is_not_there_in_bochs_does_not_end_a_programs_vm() {
    for (leaf, view) in [(0, 2), (0, 511), (1, 0)] {
        let report = attack("isolated", &format!("vmfunc {leaf} {view} 3"));
        contained(&report, 0, &[&format!("leaf {leaf} view {view} ring 3: exception 6")]);
        assert_eq!(exits(&report, "vmfunc"), 1, "{:?}", report.exits);
    }
}

/// Leaves 1 to 63 exit, and end the VM of a kernel that tries; from 64 on they are #UD.
#[test]
fn a_leaf_that_is_not_there_in_bochs_is_exit_59_or_an_exception() {
    stopped(&attack("isolated", "vmfunc 1 0 0"), "VMFUNC in home: ", 0);
    contained(&attack("isolated", "vmfunc 64 0 0"), 0, &["leaf 64 view 0 ring 0: exception 6"]);
}
