//! A1, A3, A11, A23 to A25: programs of a VM. VMFUNC needs no privilege, so any of them can try, and each can make the
//! monitor execute what it executes in the kernel's place. That must neither end their VM nor give them any access.

use super::{attack, contained, exits, run, stopped, vm};
use crate::passed;

/// From ring 3 a call is aborted: the host's tables have no page for programs. In compatibility mode gate and stub are
/// out of reach: #UD behind the VMFUNC. The kernel's calls go through as before.
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

/// Hypercalls are the kernel's. A program that could end its VM, or register for it, would act as the kernel.
#[test]
fn hypercalls_by_a_program_in_bochs_are_exceptions() {
    let report = attack("isolated", "hypercalls");
    contained(&report, 0, &["vmcall ring 3: 10 of 10 refused"]);
}

/// The program gets #UD.
#[test]
fn a_view_or_leaf_that_is_not_there_in_bochs_does_not_end_a_programs_vm() {
    for (leaf, view) in [(0, 2), (0, 511), (1, 0)] {
        let report = attack("isolated", &format!("vmfunc {leaf} {view} 3"));
        contained(&report, 0, &[&format!("leaf {leaf} view {view} ring 3: exception 6")]);
        assert_eq!(exits(&report, "vmfunc"), 1, "{:?}", report.exits);
    }
}

/// Leaves 1 to 63 exit, and end the VM of a kernel that tries. From 64 on they are #UD.
#[test]
fn a_leaf_that_is_not_there_in_bochs_is_exit_59_or_an_exception() {
    stopped(&attack("isolated", "vmfunc 1 0 0"), "VMFUNC in home: ", 0);
    contained(&attack("isolated", "vmfunc 64 0 0"), 0, &["leaf 64 view 0 ring 0: exception 6"]);
}

/// SGDT, SIDT, SLDT and STR store where the program may write, as many bytes as its mode has, or fault as on the
/// processor (A23). So does an access to the device's registers, if the kernel maps them for the program.
#[test]
fn what_the_monitor_executes_for_a_program_in_bochs_obeys_its_page_tables() {
    let report = attack("isolated", "emulated");
    let stores = [("sgdt", 10), ("sidt", 10), ("sldt", 2), ("str", 2)]
        .map(|(name, len)| format!("{name}: 5 of 5 refused, exception 3 behind {len} bytes"));
    contained(&report, 0, &stores.each_ref().map(String::as_str));
    let lines = [
        "str cx: 0xffffffffffff0030",
        "str ecx: 0x30",
        "loads: 4 of 4 refused",
        "umip: 4 of 4 refused",
        "sgdt ds: exception 13, 6 bytes at most",
        "sgdt ss: exception 3, 6 bytes at most",
        "sgdt ss at the end: exception 12, 6 bytes at most",
        "device: 0x74726976, exception 3",
        "device, another instruction: exception 6",
        "device in compatibility mode: 0x74726976, exception 3",
        "device of the kernel's: exception 14",
    ];
    contained(&report, 0, &lines);
}

/// CPUID at the last bytes below 4 GiB goes on at 0 in compatibility mode, where an ADD faults, and above 4 GiB in
/// 64-bit mode. Behind the lower half of the addresses it faults (A24).
#[test]
fn rip_in_bochs_wraps_as_the_mode_has_it() {
    let lines = [
        "compatibility mode: exception 13 at 0x0",
        "64-bit mode: exception 14 at 0x100000000",
        "lower half: exception 13 at 0x800000000000",
        "call after that: returned Ok",
    ];
    contained(&attack("isolated", "ends"), 0, &lines);
}

/// A program that calls comes back with its own flags and stack, and nothing of what its kernel's last call delivered.
/// The kernel has its interrupts, whenever they come due (A25).
#[test]
fn an_aborted_call_of_a_program_in_bochs_costs_its_kernel_nothing() {
    let all = [
        vm("attacker", "attack", "aborted", "gate = \"isolated\"\npeers = [\"receiver\"]"),
        vm("receiver", "attack", "receive in-order", "gate = \"isolated\""),
    ];
    let report = run(&all.concat());
    passed(&report);
    for line in [
        "[attacker] flags: 7 of 7 kept",
        "[attacker] learns: nothing in 28 calls; the kernel's stack is its own",
        "[attacker] interrupts: 1201 of 1201",
        "[receiver] received 2 wrong 0",
    ] {
        assert!(report.says(line), "{line}: {:#?}", report.lines);
    }
    // Some interrupts came due before the call, and some during it or after.
    let aborted = report.exits["attacker"]["aborts"];
    assert!((136..1236).contains(&aborted), "{:?}", report.exits);
}
