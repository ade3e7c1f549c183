//! A4, A18: CR3 of the VM's choice. In the gate view no table is mapped but the host's, in the place of the registered
//! one.

use super::{attack, contained, exits, stopped};

/// The first walk behind the VMFUNC is an EPT violation, in the gate view, which aborts the call. Bits that are not
/// part of the address don't matter.
#[test]
fn page_tables_that_are_not_registered_in_bochs_do_not_lead_into_the_gate() {
    let report = attack("isolated", "tables");
    let served = "registered tables: returned PeerNotReady(peer 0)";
    contained(
        &report,
        1,
        &["tables of its own: aborted", "registered tables, uncached: returned PeerNotReady(peer 0)", served],
    );
    assert_eq!(exits(&report, "ept_violation"), 1, "{:?}", report.exits);
}

/// The new tables serve, and the old ones no more: an EPT violation, and not a VMCALL behind the check of CR3, which is
/// the second line of defence.
#[test]
fn page_tables_that_were_registered_before_in_bochs_are_no_way_in() {
    let report = attack("isolated", "anew");
    let lines = ["tables registered anew: returned PeerNotReady(peer 0)", "tables registered before: aborted"];
    contained(&report, 1, &lines);
    assert_eq!(exits(&report, "ept_violation"), 1, "{:?}", report.exits);
}

/// With everything that home needs global in the TLB, CR3 is aimed at what is mapped in the window only: peer memory,
/// and packet memory with forged tables in it. The gate view has neither. The call is aborted, and home then ends the
/// VM for it.
#[test]
fn packets_as_page_tables_in_bochs_are_never_walked() {
    for what in ["forged peer", "forged payload"] {
        let report = attack("isolated", what);
        stopped(&report, "EPT violation: read of guest-physical 0x", 1);
        assert_eq!(exits(&report, "ept_violation"), 2, "{:?}", report.exits);
    }
}

/// Does the same with what the gate view does have. The host's tables, taken for ones of a higher level, lead nowhere.
/// An entry of the list is never present as a page-table entry: that is a page fault that can't be vectored, so a
/// triple fault.
#[test]
fn the_list_and_the_hosts_tables_as_page_tables_in_bochs_lead_nowhere() {
    for (what, faults) in [("forged list", 1), ("forged tables", 0)] {
        let report = attack("isolated", what);
        stopped(&report, "EPT violation: read of guest-physical 0x", 1);
        assert_eq!(exits(&report, "triple_fault"), faults, "{:?}", report.exits);
    }
}
