//! A5, A6, A10, and A15 with each of them: proper calls, with one wrong value in the registers.

use super::{attack, contained, exits};

/// The call goes through: the window has its own stack before it needs one, and gives the caller's back as it was.
#[test]
fn a_stack_pointer_aimed_at_anything_in_bochs_is_not_used() {
    let lines = ["peer", "list", "state", "stack", "nothing", "non-canonical"]
        .map(|name| format!("rsp {name}: returned PeerNotReady(peer 0), packet 0, the same"));
    contained(&attack("isolated", "stacks"), 0, &lines.each_ref().map(String::as_str));
}

/// IF, DF and RF change nothing. The window itself refuses NT and AC. TF is a #DB at the first instruction behind the
/// VMFUNC: an exit, which aborts the call.
#[test]
fn a_call_with_any_flag_in_bochs_is_served_or_refused() {
    let report = attack("isolated", "flags");
    let served = ["if", "df", "rf"].map(|flag| format!("flag {flag}: returned PeerNotReady(peer 0)"));
    contained(&report, 1, &served.each_ref().map(String::as_str));
    contained(&report, 1, &["flag nt: returned Aborted", "flag ac: returned Aborted", "flag tf: aborted"]);
    assert_eq!(exits(&report, "exception_or_nmi"), 1, "{:?}", report.exits);
}

/// No exit aborts the call: the interrupt waits for it, and comes in home.
#[test]
fn interrupts_that_sti_lets_in_behind_the_vmfunc_in_bochs_wait_for_the_call() {
    let report = attack("isolated", "sti");
    let lines =
        ["sti: returned PeerNotReady(peer 0)", "then: exception 13", "call after that: returned PeerNotReady(peer 0)"];
    contained(&report, 0, &lines);
    assert_eq!([exits(&report, "interrupts"), exits(&report, "interrupt_window")], [1, 2], "{:?}", report.exits);
}

/// Values that the gate's bytes may load are gone with the call. The control word is the caller's.
#[test]
fn x87_registers_of_an_aborted_call_in_bochs_are_clear() {
    let lines = ["x87: aborted, clear before false, after true", "x87: control word kept true"];
    contained(&attack("isolated", "x87"), 1, &lines);
}

/// The call goes through: gate and window use no segment that has a base.
#[test]
fn segment_bases_aimed_at_peer_memory_in_bochs_are_not_used() {
    let lines = ["bases peer: returned PeerNotReady(peer 0)", "bases list: returned PeerNotReady(peer 0)"];
    contained(&attack("isolated", "bases"), 0, &lines);
}
