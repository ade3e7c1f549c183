//! A2: the gate page, entered at every byte. How an entry is judged: tests/vm/src/sweep.rs.

use super::{attack, stopped};

/// 16 sets of registers at each of 4,096 bytes. An entry is harmless if it is aborted or comes back through the close; only three
/// bytes do the latter: the open, the close, and the close without its store. At the end the window's slot is as invalid as ever.
#[test]
fn the_gate_entered_at_every_byte_in_bochs_stays_closed() {
    let report = attack("isolated", "sweep");
    assert!(report.says("[attacker] sweep: 65536 entries, 65488 aborted, 48 returned"), "{:#?}", report.lines);
    assert_eq!(report.exits["attacker"]["aborts"], 65_488);
    let why = "VMFUNC in home: view 2 is not valid";
    assert!(report.verdict.clone().is_some_and(|it| it.is_err_and(|it| it.contains(why))), "{:?}", report.verdict);
    super::unharmed(&report);
}
