//! A1, A3: VMFUNC and peer memory, by plain code in home.

use super::{attack, stopped, unharmed};

#[test]
fn reading_peer_memory_in_home_in_bochs_is_exit_48() {
    for gate in ["isolated", "guarded", "hypercall"] {
        stopped(&attack(gate, "read"), "ept_violation", "EPT violation: read of guest-physical 0x30");
    }
}

#[test]
fn writing_peer_memory_in_home_in_bochs_is_exit_48() {
    for gate in ["isolated", "guarded", "hypercall"] {
        stopped(&attack(gate, "write"), "ept_violation", "EPT violation: write to guest-physical 0x30");
    }
}

/// The same write, where nothing forbids it: the victim does notice.
#[test]
fn writing_peer_memory_through_the_direct_gate_in_bochs_changes_it() {
    let report = attack("direct", "write");
    assert!(report.says("words, 1 changed") && report.says("vm victim exit code 1"), "{:#?}", report.lines);
}

/// In the gate view the page tables are the host's, and no page of the VM's is in them (rule G5): the fetch behind the VMFUNC is
/// a page fault that can't be vectored (rule G14), so a triple fault, which aborts the call (rule G9); the caller is told.
#[test]
fn vmfunc_from_a_page_of_its_own_in_bochs_is_an_aborted_call() {
    let report = attack("isolated", "view 1");
    assert!(report.says("[attacker] told: Aborted"), "{:#?}", report.lines);
    assert!(report.says("[attacker] proper call: true Err(PeerNotReady(peer 0))"), "{:#?}", report.lines);
    let exits = &report.exits["attacker"];
    assert_eq!((exits.get("aborts"), exits.get("triple_fault")), (Some(&1), Some(&1)), "{exits:?}");
    unharmed(&report);
}

#[test]
fn the_window_slot_used_from_home_in_bochs_is_exit_59() {
    stopped(&attack("isolated", "view 2"), "vmfunc", "VMFUNC in home: view 2 is not valid");
}

#[test]
fn a_view_that_is_not_there_in_bochs_is_exit_59() {
    stopped(&attack("isolated", "view 511"), "vmfunc", "VMFUNC in home: view 511 is not valid");
    stopped(&attack("guarded", "view 2"), "vmfunc", "VMFUNC in home: view 2 is not valid");
}
