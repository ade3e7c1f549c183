//! A8, A15, A17, A20: calls that are interrupted at every instruction, and by the watchdog.

use super::{numbers, often, run, run_on, vm};
use crate::passed;
use xtask::Report;

/// The kinds of calls, and the least number of instructions of gate page, window page and window code that each
/// executes.
const CALLS: [(&str, u64); 4] = [("0", 100), ("3", 200), ("3 with headers", 400), ("32", 200)];

/// A call that is aborted takes less than this number of ticks more than one that is not.
const ABORT_TICKS: u64 = 2_000;

/// Sets a breakpoint on each instruction of gate page, window page and window code in turn, which aborts the call
/// there. Either all packets of the call were accepted then, or none. Each frame that the sender was told was accepted
/// arrives once, whole, in order, and no other does. The registers bring back the status, which packets were accepted,
/// what the sender put there, and no other value.
fn interrupted(ring: &str) {
    // A turn that ends in the middle of a call would make that call look slow.
    let all = [
        "quantum_ticks = 50_000_000\n".into(),
        vm("attacker", "attack", "step", "gate = \"isolated\"\npeers = [\"receiver\"]"),
        vm("receiver", "attack", &format!("receive {ring}"), "gate = \"isolated\""),
    ];
    let report = run(&all.concat());
    delivered(&report, "stepping");
    let instructions =
        CALLS.map(|(call, _)| number(&report, &format!("[attacker] burst of {call}: "), " instructions"));
    assert!(instructions.iter().zip(CALLS).all(|(count, (_, least))| *count >= least), "{instructions:?}");
    for (call, _) in CALLS {
        let [whole, aborted] = numbers(&report, &format!("[attacker] slowest {call}: "));
        assert!(aborted < whole + ABORT_TICKS, "{call}: {whole} {aborted}");
    }
}

/// Returns the number between `before` and `after` in a line.
#[track_caller]
fn number(report: &Report, before: &str, after: &str) -> u64 {
    let line = report.lines.iter().find_map(|line| line.strip_prefix(before)).expect("a line");
    line.strip_suffix(after).and_then(|number| number.parse().ok()).expect("a number")
}

/// Asserts that each frame arrived that the attacker was told was accepted. Returns how many calls were aborted.
#[track_caller]
fn delivered(report: &Report, attack: &str) -> u64 {
    passed(report);
    let said =
        |prefix: &str| report.lines.iter().find_map(|line| line.strip_prefix(prefix)).expect("a line").to_owned();
    let sent = said(&format!("[attacker] {attack}: "));
    let (aborted, sent) = sent.strip_suffix(" sent").and_then(|it| it.split_once(" aborted, ")).expect("two numbers");
    assert_eq!(said("[receiver] received "), format!("{sent} wrong 0"));
    let aborts = report.exits["attacker"]["aborts"];
    assert_eq!(aborts.to_string(), aborted);
    aborts
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

/// The exits around a call that overruns take less than this number of ticks.
const EXIT_TICKS: u64 = 8_000;

/// Returns the report of a manifest that gives a call less time than 256 packets take: the watchdog aborts it in the
/// middle, so that none of the packets arrives. Smaller calls go through.
fn overrun(processors: usize, times: &str) -> Report {
    let all = [
        times.into(),
        vm("attacker", "attack", "overrun", "gate = \"isolated\"\npeers = [\"receiver\"]"),
        vm("receiver", "attack", "receive in-order", "gate = \"isolated\""),
    ];
    let report = run_on(processors, 120, &all.concat());
    assert!(delivered(&report, "overrun") > 0);
    report
}

#[test]
fn calls_that_take_too_long_in_bochs_are_aborted_and_undone() {
    overrun(1, "watchdog_ticks = 500\nquantum_ticks = 1000\n");
}

/// On a processor of its own, a VM whose call overruns is back after the watchdog's time, the grace, and some exits.
#[test]
fn calls_that_take_too_long_in_bochs_are_back_in_time() {
    let report = overrun(2, "watchdog_ticks = 2000\ngrace_ticks = 1000\n");
    let ticks = number(&report, "[attacker] aborted after ", " ticks");
    assert!((3_000..3_000 + EXIT_TICKS).contains(&ticks), "{ticks}");
}

/// The least number of instructions of an empty call and of a burst of 32 in the window.
const IN_WINDOW: [u64; 2] = [20, 900];

/// Lets the timer run out at every instruction of an empty call and of a burst of 32, under the manifest's `policy`. In
/// the gate it only waits. In the window the call is resumed or aborted, whole or not at all.
fn run_out(policy: &str, ring: &str) -> Report {
    let all = [
        format!("quantum_ticks = 40_000\n{policy}\n"),
        vm("attacker", "attack", "timer", "gate = \"isolated\"\npeers = [\"receiver\"]"),
        vm("receiver", "attack", &format!("receive {ring}"), "gate = \"isolated\""),
    ];
    let report = run(&all.concat());
    passed(&report);
    // The instructions in the gate are included. An empty call has as many there as in the window.
    assert!(report.exits["attacker"]["crossing"] > 2 * IN_WINDOW[0] + IN_WINDOW[1], "{:?}", report.exits);
    report
}

#[test]
fn the_timer_at_every_instruction_in_bochs_changes_nothing() {
    for ring in ["split", "in-order", "packed"] {
        assert_eq!(delivered(&run_out("", ring), "timer"), 0);
    }
}

#[test]
fn the_timer_without_grace_at_every_instruction_in_bochs_is_a_clean_abort() {
    for ring in ["split", "in-order", "packed"] {
        let report = run_out("grace_ticks = 0", ring);
        let aborted = delivered(&report, "timer");
        let counts = [0, 32].map(|count| in_a_row(&report, count));
        assert!(counts[0] > IN_WINDOW[0] && counts[1] > IN_WINDOW[1], "{counts:?}");
        assert_eq!(counts[0] + counts[1], aborted);
    }
}

/// Returns after how many delays, none of which was left out, it happened to calls of `count` frames.
#[track_caller]
fn in_a_row(report: &Report, count: u64) -> u64 {
    let prefix = format!("[attacker] burst of {count}: ");
    let line = report.lines.iter().find_map(|line| line.strip_prefix(&prefix)).expect("a line");
    let (happened, row) = line.split_once(" of ").expect("two numbers");
    assert_eq!(row, format!("{happened} in a row"), "none was left out");
    happened.parse().expect("a number")
}

/// The VM's timer expires at every instruction of an empty call and of a burst of 32. The interrupt waits until the
/// call is back, and is injected then, once. The call delivers what it would have delivered, and so does the next.
#[test]
fn interrupts_at_every_instruction_in_bochs_wait_and_change_nothing() {
    for ring in ["split", "in-order", "packed"] {
        let all = [
            vm("attacker", "attack", "interrupts", "gate = \"isolated\"\npeers = [\"receiver\"]"),
            vm("receiver", "attack", &format!("receive {ring}"), "gate = \"isolated\""),
        ];
        let report = run(&all.concat());
        assert_eq!(delivered(&report, "interrupts"), 0);
        let exits = &report.exits["attacker"];
        assert_eq!(number(&report, "[attacker] handled ", ""), exits["interrupts"]);
        let waited = [0, 32].map(|count| in_a_row(&report, count));
        assert!(waited[0] > IN_WINDOW[0] && waited[1] > IN_WINDOW[1], "{waited:?}");
        assert_eq!(exits["interrupt_window"], waited[0] + waited[1], "each waited for that: {exits:?}");
    }
}

/// The number of instructions of the gate page that a call executes.
const IN_GATE: u64 = 17;

/// The monitor's NMI comes at every instruction of an empty call and of a burst of 32, as the receiver resets its
/// device right then. The call delivers what it would have delivered, if the window was open, and the next one exits
/// before it opens the window.
///
/// As many NMIs come in the window as it has instructions, by another count: that of the timer.
#[test]
fn nmis_at_every_instruction_in_bochs_change_nothing() {
    let all = [
        often(),
        vm("attacker", "attack", "nmi", "gate = \"isolated\"\ncpu = 0\npeers = [\"receiver\"]"),
        vm("receiver", "attack", "reset in-order", "gate = \"isolated\"\ncpu = 1"),
    ];
    let report = run_on(2, 300, &all.concat());
    assert_eq!(delivered(&report, "nmi"), 0);
    let came = [0, 32].map(|count| in_a_row(&report, count));
    let timer = run_out("grace_ticks = 0", "in-order");
    assert_eq!(came, [0, 32].map(|count| in_a_row(&timer, count)));
    let (exits, in_window) = (&report.exits["attacker"], came[0] + came[1]);
    assert_eq!(exits["vmfunc"], in_window, "the next call, each time: {exits:?}");
    assert!(exits["crossing"] - exits["vmfunc"] >= in_window + 2 * IN_GATE, "{exits:?}");
}
