//! A7, A10, A21, A26: exceptions that a VM prepares for gate and window, and debug exceptions and interrupts in home.
//! Breakpoints on every instruction are in stepping.rs.

use super::{attack, contained, exits, run, vm};
use crate::passed;

/// Sets breakpoints on the window's stack, on its state, on the request block, and one that MOV SS holds back until the
/// VMFUNC is over. Each is a #DB that exits, and the call is aborted.
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

/// Each table and each base that could reach into what gate and window map is #GP.
#[test]
fn descriptor_tables_in_the_slot_in_bochs_are_refused() {
    let report = attack("isolated", "descriptors");
    let lines =
        ["idt in the slot: 5 of 5 refused", "gdt in the slot: 5 of 5 refused", "tss in the slot: 5 of 5 refused"];
    contained(&report, 0, &lines);
    contained(&report, 0, &["call after that: returned Ok"]);
}

/// CR0.TS makes the window's vector instructions fault. The fault is not vectored there: it is a triple fault, the call
/// is aborted and undone, and the next one delivers.
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

/// A debug exception in home exits, and its handler finds DR6, DR7 and RIP as it would without a monitor: single steps
/// (bit 14 of DR6), also over what the monitor executes, breakpoints (bits 3:0), guarded registers (bit 13). Exceptions
/// that MOV SS holds back lead to no refused entry (A26).
#[test]
fn debug_exceptions_in_bochs_are_the_kernels_as_they_were() {
    let report = attack("isolated", "debugged");
    let rings = ["kernel", "program"].map(|who| {
        [
            format!("{who}, step: exception 1 at 1, dr6 0xffff4ff0"),
            format!("{who}, step over cpuid: exception 1 at 2, dr6 0xffff4ff0"),
            format!("{who}, breakpoint: exception 1 at 0, dr6 0xffff0ff1"),
        ]
    });
    contained(&report, 0, &rings.as_flattened().iter().map(String::as_str).collect::<Vec<_>>());
    let lines = [
        "mov ss, int1: exception 1 at 3, dr6 0xffff0ff0",
        "mov ss, step over cpuid: exception 1 at 4, dr6 0xffff4ff0",
        "mov ss, ud2: exception 6 at 2, dr6 0xffff0ff0",
        "guarded: exception 1, then dr7 0x400, dr6 0xffff2ff0",
    ];
    contained(&report, 0, &lines);
}

/// Vectors from 16 on are interrupts', as an APIC has it. An expiry that is masked, or whose timer is armed anew, is no
/// interrupt any more.
#[test]
fn expiries_that_are_masked_or_taken_back_in_bochs_are_no_interrupts() {
    let report = attack("isolated", "masked");
    let lines = [
        "vectors: 16 refused, first taken Some(16), 0 refused where masked",
        "as it was: an interrupt",
        "masked: none",
        "masked, vector 3: none",
        "armed anew: none",
        "taken back: none",
    ];
    contained(&report, 0, &lines);
    assert_eq!(report.exits["attacker"]["interrupts"], 1, "{:?}", report.exits);
}
