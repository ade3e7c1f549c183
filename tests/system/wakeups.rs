//! The host's switch always wakes a VNF that sleeps, and never interrupts one that polls.

use crate::{embedded, in_bochs};
use xtask::latency::wakeups::{Wakeups, notified, row, scenario};
use xtask::{Host, Report, Scenario};

/// Each sleep may last for longer than the whole run, so a frame that wakes nobody ends the run.
const LONGEST: &str = "longest=1000000";

/// Each frame is sent once the one before was answered, a random time later, and the receiver looks for it a random
/// time later: while it polls, while it is on its way to a sleep, or while it sleeps. `times` are those of the sender
/// and of the receiver.
fn lock_step(host: Host, rest: &str, count: u64, times: [u64; 2]) -> Scenario {
    let sent = format!("count={count} gap=100 jitter={}", times[0]);
    let scenario = scenario(host, (rest, "switch"), &sent, &format!("jitter={} {LONGEST}", times[1]));
    Scenario { timeout: 150, ..scenario }
}

#[track_caller]
fn measured(report: &Report, frames: u64) -> Wakeups {
    let row = row(report).unwrap_or_else(|error| panic!("{error}\n{}", report.lines.join("\n")));
    assert_eq!(row.frames, frames);
    println!("{row:?}");
    row
}

#[test]
fn no_wake_up_of_a_process_is_lost() {
    let report = embedded(&lock_step(Host::Embedded, "sleep", 3000, [400_000, 400_000]));
    let row = measured(&report, 3000);
    assert!(row.notified > 100 && row.sleeps > 100, "{row:?}");
}

/// Each notification is an interrupt, but for one of a line that is still high, and there is no other interrupt. Some
/// frames find the receiver awake.
#[test]
fn no_wake_up_of_a_vm_in_bochs_is_lost() {
    let report = in_bochs(&lock_step(Host::Bochs, "sleep", 1000, [60_000, 60_000]));
    let row = measured(&report, 1000);
    let interrupts = report.exits["b"]["interrupts"];
    assert!(row.sleeps > 100 && row.sleeps < 950 && (100..=row.notified).contains(&interrupts), "{row:?} {interrupts}");
}

#[test]
fn a_process_that_polls_is_woken_by_nobody() {
    let report = embedded(&lock_step(Host::Embedded, "poll", 1000, [100_000, 100_000]));
    let row = measured(&report, 1000);
    assert_eq!((row.sleeps, row.notified, notified(&report, "a")), (0, 0, 0));
}

#[test]
fn a_vm_that_polls_in_bochs_is_interrupted_by_nobody() {
    let report = in_bochs(&lock_step(Host::Bochs, "poll", 500, [20_000, 20_000]));
    let row = measured(&report, 500);
    assert_eq!((row.sleeps, row.notified, notified(&report, "a")), (0, 0, 0));
    let exits = &report.exits["b"];
    assert_eq!(exits["interrupts"], 0);
    let none = ["hlt", "rdmsr", "wrmsr", "interrupt_window"].iter().all(|reason| !exits.contains_key(*reason));
    assert!(none, "{exits:?}");
}
