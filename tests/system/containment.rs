//! What an attacker in home gets: an exit, and its end; the victim's memory stays, and the others go on.

use crate::in_bochs;
use xtask::{Report, Scenario};

const VICTIM: &str =
    "[[vm]]\nname = \"victim\"\nram_mib = 8\nimage = \"attack\"\nargs = \"victim\"\ngate = \"isolated\"\n";
const BYSTANDERS: &str = "[[vm]]\nname = \"c\"\nram_mib = 8\nimage = \"microbench\"\nargs = \"proof 2000\"\ngate = \"isolated\"\n\
                          peers = [\"d\"]\n[[vm]]\nname = \"d\"\nram_mib = 8\nimage = \"microbench\"\nargs = \"receive\"\ngate = \"isolated\"\n";

/// The victim never becomes a receiver, so its packet memory is nobody else's to write.
fn attack(gate: &str, args: &str) -> Report {
    let attacker = format!(
        "[[vm]]\nname = \"attacker\"\nram_mib = 8\nimage = \"attack\"\nargs = \"{args}\"\ngate = \"{gate}\"\npeers = [\"victim\"]\n"
    );
    in_bochs(&Scenario::new(format!("{attacker}{VICTIM}{BYSTANDERS}")))
}

#[track_caller]
fn unharmed(report: &Report) {
    assert!(report.says("words, 0 changed") && report.says("vm victim exit code 0"), "{:#?}", report.lines);
    assert!(report.says("[d] received 2000 lost 0 doubled 0 torn 0 reordered 0"), "{:#?}", report.lines);
    assert!(report.says("vm c exit code 0") && report.says("vm d exit code 0"));
}

/// The attacker's end was `why`, after one exit `reason`.
#[track_caller]
fn stopped(report: &Report, reason: &str, why: &str) {
    let verdict = report.verdict.clone().expect("a verdict").expect_err("a VM that was stopped");
    assert!(verdict.starts_with(&format!("vm attacker stopped: {why}")), "{verdict}");
    assert_eq!(report.exits["attacker"].get(reason), Some(&1), "{:?}", report.exits);
    unharmed(report);
}

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
    let report = attack("isolated", "vmfunc 1");
    assert!(report.says("[attacker] told: Aborted"), "{:#?}", report.lines);
    assert!(report.says("[attacker] proper call: true Err(PeerNotReady(peer 0))"), "{:#?}", report.lines);
    let exits = &report.exits["attacker"];
    assert_eq!((exits.get("aborts"), exits.get("triple_fault")), (Some(&1), Some(&1)), "{exits:?}");
    unharmed(&report);
}

#[test]
fn the_window_slot_used_from_home_in_bochs_is_exit_59() {
    stopped(&attack("isolated", "vmfunc 2"), "vmfunc", "VMFUNC in home: view 2 is not valid");
}

#[test]
fn a_view_that_is_not_there_in_bochs_is_exit_59() {
    stopped(&attack("isolated", "vmfunc 511"), "vmfunc", "VMFUNC in home: view 511 is not valid");
    stopped(&attack("guarded", "vmfunc 2"), "vmfunc", "VMFUNC in home: view 2 is not valid");
}
