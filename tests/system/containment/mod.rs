//! A hostile VM, its victim, and two VMs that go on meanwhile. Each attack of docs/threat-model.md that an emulator can
//! show is a test here. The attacks themselves are in tests/vm/src/attacks.
//!
//! A test has what has to come of its attack: how it is contained, which counter of the monitor's says so, and what the
//! caller finds. In each the victim finds no word of its memory changed, once the attacker is gone, and the others lose
//! no packet.

mod entry;
mod exceptions;
mod home;
mod lives;
mod modes;
mod neighbours;
mod programs;
mod registers;
mod revocation;
mod runs;
mod stepping;
mod tables;

use crate::in_bochs;
use xtask::{Report, Scenario};

/// Returns a VM's entry in a manifest.
fn vm(name: &str, image: &str, args: &str, rest: &str) -> String {
    format!("[[vm]]\nname = \"{name}\"\nram_mib = 8\nimage = \"{image}\"\nargs = \"{args}\"\n{rest}\n")
}

/// Runs the attack `args`. The victim never becomes a receiver, so its packet memory is nobody else's to write.
fn attack(gate: &str, args: &str) -> Report {
    let all = [
        vm("attacker", "attack", args, &format!("gate = \"{gate}\"\npeers = [\"victim\"]")),
        vm("victim", "attack", "victim", "gate = \"isolated\"\npeers = [\"attacker\"]"),
        vm("c", "microbench", "proof 2000", "gate = \"isolated\"\npeers = [\"d\"]"),
        vm("d", "microbench", "receive", "gate = \"isolated\""),
    ];
    run(&all.concat())
}

fn run(manifest: &str) -> Report {
    run_on(1, 1800, manifest)
}

/// Runs `manifest` on `processors` processors, for at most `timeout` seconds.
fn run_on(processors: usize, timeout: u64, manifest: &str) -> Report {
    in_bochs(&Scenario { processors, timeout, ..Scenario::new(manifest) })
}

/// Returns the first line of a manifest whose receivers start their devices often: senders hear of that once in a
/// quantum.
fn often() -> String {
    "quantum_ticks = 20_000\n".into()
}

/// Returns the numbers of the line that starts with `prefix`.
#[track_caller]
fn numbers<const N: usize>(report: &Report, prefix: &str) -> [u64; N] {
    let line = report.lines.iter().find_map(|line| line.strip_prefix(prefix)).expect("a line");
    let words = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect::<Vec<_>>();
    words.try_into().expect("as many numbers")
}

#[track_caller]
fn unharmed(report: &Report) {
    assert!(report.says("words, 0 changed") && report.says("vm victim exit code 0"), "{:#?}", report.lines);
    assert!(report.says("[d] received 2000 lost 0 doubled 0 torn 0 reordered 0"), "{:#?}", report.lines);
    assert!(report.says("vm c exit code 0") && report.says("vm d exit code 0"));
}

/// Asserts that the attacker ended by itself, after `aborts` aborted calls, and printed each of `lines`.
#[track_caller]
fn contained(report: &Report, aborts: u64, lines: &[&str]) {
    crate::passed(report);
    for line in lines {
        assert!(report.says(&format!("[attacker] {line}")), "{line}: {:#?}", report.lines);
    }
    assert_eq!(report.exits["attacker"]["aborts"], aborts, "{:?}", report.exits);
    unharmed(report);
}

/// Asserts that the monitor stopped the attacker for the reason `why`, after `aborts` aborted calls.
#[track_caller]
fn stopped(report: &Report, why: &str, aborts: u64) {
    let verdict = report.verdict.clone().expect("a verdict").expect_err("a VM that was stopped");
    assert!(verdict.starts_with(&format!("vm attacker stopped: {why}")), "{verdict}");
    assert_eq!(report.exits["attacker"]["aborts"], aborts, "{:?}", report.exits);
    unharmed(report);
}

/// Returns the number of the attacker's exits for `reason`.
fn exits(report: &Report, reason: &str) -> u64 {
    report.exits["attacker"].get(reason).copied().unwrap_or(0)
}
