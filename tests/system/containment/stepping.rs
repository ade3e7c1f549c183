//! A15, A17, A20: calls that are interrupted at every instruction.

use super::vm;
use crate::{in_bochs, passed};
use xtask::Scenario;

/// A breakpoint on each instruction of gate page, window page and window code in turn aborts the call there. What the sender is told
/// was accepted arrives once, whole, in order, and nothing else does; and no register brings back anything but the status, which
/// packets were accepted, and what the sender put there.
fn interrupted(ring: &str) {
    let all = [
        vm("attacker", "attack", "step", "gate = \"isolated\"\npeers = [\"receiver\"]"),
        vm("receiver", "attack", &format!("receive {ring}"), "gate = \"isolated\""),
    ];
    let report = in_bochs(&Scenario { timeout: 120, ..Scenario::new(all.concat()) });
    passed(&report);
    let said =
        |prefix: &str| report.lines.iter().find_map(|line| line.strip_prefix(prefix)).expect("a line").to_owned();
    let sent = said("[attacker] stepping: ");
    let (aborted, sent) = sent.strip_suffix(" sent").and_then(|it| it.split_once(" aborted, ")).expect("two numbers");
    assert_eq!(said("[receiver] received "), format!("{sent} wrong 0"));
    assert_eq!(report.exits["attacker"]["aborts"].to_string(), aborted);
    // The crossing alone has more instructions than this, and each is tried twice.
    assert!(report.exits["attacker"]["aborts"] > 500, "{:?}", report.exits);
}

#[test]
fn calls_interrupted_at_every_instruction_in_bochs_deliver_what_they_say_split() {
    interrupted("split");
}

#[test]
fn calls_interrupted_at_every_instruction_in_bochs_deliver_what_they_say_in_order() {
    interrupted("in-order");
}

#[test]
fn calls_interrupted_at_every_instruction_in_bochs_deliver_what_they_say_packed() {
    interrupted("packed");
}
