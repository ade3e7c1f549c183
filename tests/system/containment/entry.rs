//! A2, A20, A22: the gate page, entered at every byte. tests/vm/src/attacks/sweep.rs says how an entry is judged.

use super::{attack, exits, stopped};

/// Enters with 16 sets of registers at each of 4,096 bytes. An entry is harmless if it is aborted or comes back through
/// the close. Only three bytes do the latter: the open, the close, and the close without its store. Some hundred get as
/// far as a VMFUNC to slot 2 or to the VMCALL behind the check of CR3. At the end the window's slot is as invalid as
/// ever.
#[test]
fn the_gate_entered_at_every_byte_in_bochs_stays_closed() {
    let report = attack("isolated", "sweep");
    assert!(report.says("[attacker] sweep: 65536 entries, 65488 aborted, 48 returned"), "{:#?}", report.lines);
    stopped(&report, "VMFUNC in home: view 2 is not valid", 65_488);
}

/// Before a VM registers, its page tables lead nowhere in the gate view, and slot 2 is disabled: each entry ends at its
/// first fetch.
#[test]
fn the_gate_entered_by_a_vm_that_never_registered_in_bochs_runs_nothing() {
    let report = attack("isolated", "unregistered");
    assert!(report.says("[attacker] unregistered: 4096 aborted, 0 returned"), "{:#?}", report.lines);
    stopped(&report, "VMFUNC in home: view 2 is not valid", 4096);
    assert_eq!(exits(&report, "ept_violation"), 4096, "{:?}", report.exits);
}

/// With the single-step flag, each entry ends at its first instruction by the #DB behind the VMFUNC, which exits, also
/// where the window's calls begin.
#[test]
fn the_gate_stepped_into_at_every_byte_in_bochs_runs_nothing() {
    let report = attack("isolated", "stepped");
    assert!(report.says("[attacker] stepped: 4096 aborted, 0 returned"), "{:#?}", report.lines);
    stopped(&report, "VMFUNC in home: view 2 is not valid", 4096);
    assert!(exits(&report, "exception_or_nmi") >= 4096, "{:?}", report.exits);
}
