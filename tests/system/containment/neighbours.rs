//! A16, and what VMs on one machine can do to each other without a gate.

use super::{often, vm};
use crate::{in_bochs, passed};
use xtask::Scenario;

/// A receiver on a processor of its own changes descriptors and rings while the sender's window reads them. The sender
/// is told of faults. The window never faults itself, and the sender's other peer keeps its memory. The receiver also
/// starts its device anew sixty times: each time its processor interrupts the sender's wherever it is (rule G13), and
/// goes on.
fn scribbled(ring: &str) {
    let all = [
        often(),
        vm("attacker", "attack", &format!("scribble {ring}"), "gate = \"isolated\"\ncpu = 1"),
        vm("sender", "attack", "send", "gate = \"isolated\"\ncpu = 0\npeers = [\"attacker\", \"victim\"]"),
        vm("victim", "attack", "victim", "gate = \"isolated\"\ncpu = 1\npeers = [\"sender\"]"),
    ];
    let report = in_bochs(&Scenario { processors: 2, timeout: 300, ..Scenario::new(all.concat()) });
    passed(&report);
    assert!(report.says("words, 0 changed"), "{:#?}", report.lines);
    assert!(report.says("[sender] sender: ") && !report.says(" 0 faults"), "{:#?}", report.lines);
    assert_eq!(report.exits["sender"]["aborts"], 0);
}

#[test]
fn rings_changed_under_the_window_in_bochs_are_faults_and_no_more_split() {
    scribbled("split");
}

#[test]
fn rings_changed_under_the_window_in_bochs_are_faults_and_no_more_in_order() {
    scribbled("in-order");
}

#[test]
fn rings_changed_under_the_window_in_bochs_are_faults_and_no_more_packed() {
    scribbled("packed");
}

/// A receiver breaks the protocol four times, and has invalid rings four times. After each its driver starts anew, as
/// it should. The sender's state word says each of it at once, and frames flow again.
fn quarantined(gate: &str) {
    for ring in ["split", "in-order", "packed"] {
        let all = [
            vm("receiver", "attack", &format!("misbehave {ring}"), &format!("gate = \"{gate}\"")),
            vm("sender", "attack", "forgive", &format!("gate = \"{gate}\"\npeers = [\"receiver\"]")),
        ];
        let report = in_bochs(&Scenario::new(all.concat()));
        passed(&report);
        assert!(report.says("[sender] quarantine: 4 faults, "), "{:#?}", report.lines);
    }
}

#[test]
fn a_peer_in_quarantine_in_bochs_says_so_until_it_starts_anew_isolated() {
    quarantined("isolated");
}

#[test]
fn a_peer_in_quarantine_in_bochs_says_so_until_it_starts_anew_guarded() {
    quarantined("guarded");
}

#[test]
fn a_peer_in_quarantine_in_bochs_says_so_until_it_starts_anew_direct() {
    quarantined("direct");
}

#[test]
fn a_peer_in_quarantine_in_bochs_says_so_until_it_starts_anew_by_hypercall() {
    quarantined("hypercall");
}

/// A program that sends as long as its peer is ready ends with an error if the peer is in quarantine.
#[test]
fn a_program_in_bochs_whose_peer_is_in_quarantine_ends_with_an_error() {
    let gate = "gate = \"isolated\"";
    let all = [
        vm("program", "forward", "", &format!("{gate}\npeers = [\"receiver\"]")),
        vm("receiver", "attack", "misbehave split", gate),
        vm("source", "attack", "send", &format!("{gate}\npeers = [\"program\"]")),
    ];
    let report = in_bochs(&Scenario::new(all.concat()));
    assert_eq!(report.verdict, Some(Err("vm program exit code 1".into())), "{:#?}", report.lines);
    assert!(
        report.says("[program] error: the peer is in quarantine: its rings broke the protocol"),
        "{:#?}",
        report.lines
    );
    assert!(report.says("vm source exit code 0"), "{:#?}", report.lines);
}

/// Breakpoint addresses, CR2, the base of SWAPGS and vectors are in no VMCS: the monitor keeps each VM's.
#[test]
fn registers_of_one_vm_in_bochs_are_not_seen_by_the_next() {
    let all = ["a", "b"]
        .map(|name| vm(name, "attack", if name == "a" { "leftovers 1" } else { "leftovers 2" }, "gate = \"isolated\""));
    let report = in_bochs(&Scenario::new(all.concat()));
    passed(&report);
    for name in ["a", "b"] {
        assert!(
            report.says(&format!("[{name}] leftovers: [0, 0, 0, 0, 0, 0], vectors clean true, kept true")),
            "{:#?}",
            report.lines
        );
    }
}

/// The most NMIs for 200 starts and resets of a device, each of which takes the receiver some tens of thousands of
/// ticks: as many as there are quanta in that time, and some.
const CALLS: u64 = 30;

/// Runs a receiver that starts its device and resets it 200 times, and ends before its sender does. The sender has a
/// processor of its own, never exits by itself, and hears of the device now and then.
fn started(rings: &str) -> xtask::Report {
    let all = [
        vm("sender", "attack", "call 200000", "gate = \"isolated\"\ncpu = 0\npeers = [\"receiver\"]"),
        vm("receiver", "attack", &format!("{rings} 200"), "gate = \"isolated\"\ncpu = 1"),
    ];
    let report = in_bochs(&Scenario { processors: 2, timeout: 300, ..Scenario::new(all.concat()) });
    passed(&report);
    let line = |text: &str| report.lines.iter().position(|line| line == text).expect("a line");
    assert!(line("[receiver] started 200 times") < line("[sender] called 200000 times"), "{:#?}", report.lines);
    let exits = &report.exits["sender"];
    assert!((1..CALLS).contains(&exits["exception_or_nmi"]), "{:#?}", report.lines);
    report
}

#[test]
fn starts_of_a_device_with_bad_rings_in_bochs_cost_its_sender_one_line() {
    let report = started("bad");
    let lines = report.lines.iter().filter(|line| line.contains("queue refused")).count();
    assert_eq!(lines, 1, "{:#?}", report.lines);
}

/// A sender that looks at each of 20 starts, as each lasts for some quanta, finds bad rings each time, and the host
/// prints that once.
#[test]
fn rings_that_are_refused_again_and_again_in_bochs_are_one_line() {
    let all = [
        often(),
        vm("sender", "attack", "call 40000", "gate = \"isolated\"\ncpu = 0\npeers = [\"receiver\"]"),
        vm("receiver", "attack", "worse 20", "gate = \"isolated\"\ncpu = 1"),
    ];
    let report = in_bochs(&Scenario { processors: 2, timeout: 300, ..Scenario::new(all.concat()) });
    passed(&report);
    assert!(report.exits["sender"]["exception_or_nmi"] >= 20, "{:#?}", report.lines);
    let lines = report.lines.iter().filter(|line| line.contains("queue refused")).count();
    assert_eq!(lines, 1, "{:#?}", report.lines);
}

#[test]
fn starts_of_a_device_in_bochs_cost_its_sender_an_exit_now_and_then() {
    let report = started("good");
    assert_eq!(report.exits["receiver"]["revocations"], 201);
}

/// Two VMs print at the same time, one of them lines of the greatest length. Each line is whole, and in order among the
/// VM's own.
#[test]
fn lines_of_two_vms_in_bochs_are_whole_and_in_order() {
    let printers = [("long", 40, 4000), ("short", 400, 5)];
    let all =
        printers.map(|(name, times, len)| vm(name, "attack", &format!("print {times} {len}"), "gate = \"isolated\""));
    let report = in_bochs(&Scenario { processors: 2, timeout: 120, ..Scenario::new(all.concat()) });
    passed(&report);
    for (name, times, len) in printers {
        let tag = format!("[{name}] ");
        let lines: Vec<_> = report.lines.iter().filter_map(|line| line.strip_prefix(&tag)).collect();
        let wanted: Vec<_> = (0..times).map(|number| format!("line {number} {}", "x".repeat(len))).collect();
        assert_eq!(lines, wanted);
    }
}
