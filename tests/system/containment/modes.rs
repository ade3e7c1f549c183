//! A11, A12, A19: the bits that lead to modes and features which gate and window were not made for.

use super::{attack, contained};

/// Each bit of CR0 and CR4, each MSR, and XCR0 is #GP: paging off, PAE off, LA57, PCID, SMEP, SMAP, protection keys,
/// CET, FRED, LAM; DEBUGCTL, PEBS, the DS area, processor trace. The host owns them all.
#[test]
fn modes_that_the_gate_was_not_made_for_in_bochs_are_refused() {
    let report = attack("isolated", "modes");
    let refused = ["cr0: 7 of 7 refused", "cr4: 15 of 15 refused", "msr: 17 of 17 refused", "xcr0: refused"];
    contained(&report, 0, &refused);
    contained(&report, 0, &["call after that: returned Ok"]);
}
