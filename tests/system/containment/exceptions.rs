//! A7, A10, A21: exceptions that a VM prepares for gate and window. (Breakpoints on every instruction: stepping.rs.)

use super::{attack, contained, exits, run, vm};
use crate::passed;

/// Breakpoints on the window's stack, on its state, on the request block, and one that MOV SS holds back until the VMFUNC is over: each is a
/// #DB that exits, and the call is aborted.
#[test]
fn breakpoints_on_data_in_bochs_abort_the_call() {
    let report = attack("isolated", "watch");
    contained(
        &report,
        4,
        &["watch stack: aborted", "watch state: aborted", "watch request: aborted", "mov ss: aborted"],
    );
    assert_eq!(exits(&report, "exception_or_nmi"), 4, "{:?}", report.exits);
    assert_eq!(exits(&report, "triple_fault"), 0, "nothing is injected: {:?}", report.exits);
}

/// #GP, for each table and each base that could reach into what gate and window map.
#[test]
fn descriptor_tables_in_the_slot_in_bochs_are_refused() {
    let report = attack("isolated", "descriptors");
    let lines =
        ["idt in the slot: 5 of 5 refused", "gdt in the slot: 5 of 5 refused", "tss in the slot: 5 of 5 refused"];
    contained(&report, 0, &lines);
    contained(&report, 0, &["call after that: returned Ok"]);
}

/// CR0.TS makes the window's vector instructions fault. Nothing is vectored there: a triple fault, the call is aborted and undone, and the
/// next one delivers.
#[test]
fn vector_registers_that_fault_in_bochs_abort_the_call() {
    let all = [
        vm("attacker", "attack", "ts", "gate = \"isolated\"\npeers = [\"receiver\"]"),
        vm("receiver", "attack", "receive in-order", "gate = \"isolated\""),
    ];
    let report = run(&all.concat());
    passed(&report);
    for line in [
        "[attacker] ts set: aborted, 0 sent",
        "[attacker] ts clear: returned Ok, 2 sent",
        "[receiver] received 2 wrong 0",
    ] {
        assert!(report.says(line), "{line}: {:#?}", report.lines);
    }
    assert_eq!((report.exits["attacker"]["aborts"], exits(&report, "triple_fault")), (1, 1), "{:?}", report.exits);
}
