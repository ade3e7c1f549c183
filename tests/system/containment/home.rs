//! A1: VMFUNC and peer memory, by plain code in home, and the end of the stack.

use super::{attack, contained, exits, stopped};

/// This holds even with the gate `direct`, whose home shows the rings and runs of receivers: the victim is no receiver.
#[test]
fn reading_peer_memory_in_home_in_bochs_is_exit_48() {
    for gate in ["isolated", "guarded", "hypercall", "direct"] {
        stopped(&attack(gate, "read"), "EPT violation: read of guest-physical 0x1af0", 0);
    }
}

#[test]
fn writing_peer_memory_in_home_in_bochs_is_exit_48() {
    for gate in ["isolated", "guarded", "hypercall", "direct"] {
        stopped(&attack(gate, "write"), "EPT violation: write to guest-physical 0x1af0", 0);
    }
}

/// The page below an image's stack is not backed, so nothing is overwritten.
#[test]
fn a_stack_in_bochs_that_grows_too_far_is_told_as_that() {
    for gate in ["isolated", "guarded"] {
        stopped(&attack(gate, "overflow"), "stack overflow: write to guest-physical 0xff", 0);
    }
}

/// In the gate view the page tables are the host's, and no page of the VM's is in them (rule G5). So the fetch behind
/// the VMFUNC is a page fault that can't be vectored (rule G14), and a triple fault, which aborts the call (rule G9).
/// The caller is told.
#[test]
fn vmfunc_from_a_page_of_its_own_in_bochs_is_an_aborted_call() {
    let report = attack("isolated", "view 1");
    contained(&report, 1, &["told: Aborted", "proper call: true Err(PeerNotReady { peer: PeerIdx(0), index: 0 })"]);
    assert_eq!(exits(&report, "triple_fault"), 1, "{:?}", report.exits);
}

#[test]
fn the_window_slot_used_from_home_in_bochs_is_exit_59() {
    stopped(&attack("isolated", "view 2"), "VMFUNC in home: view 2 is not valid", 0);
}

#[test]
fn a_view_that_is_not_there_in_bochs_is_exit_59() {
    stopped(&attack("isolated", "view 511"), "VMFUNC in home: view 511 is not valid", 0);
    stopped(&attack("guarded", "view 2"), "VMFUNC in home: view 2 is not valid", 0);
}
