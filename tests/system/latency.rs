//! How long each single call takes, and how long interrupts wait for calls.

use crate::{embedded, in_bochs};
use xtask::latency::{Expiries, Measured, scenario};
use xtask::{Host, Report, Scenario};

/// No window is open for this number of instructions. See: docs/latency.md.
const LONGEST: u64 = 3_200_000;

/// Returns the expiries, with what the monitor counted.
fn expiries(scenario: &Scenario) -> (Expiries, Report) {
    let report = in_bochs(scenario);
    (measured(&[&report]).expiries.remove(0), report)
}

/// If a timer is lost nothing ends the run but the emulator's timeout.
fn bochs(args: &str) -> Scenario {
    Scenario { timeout: 120, ..scenario(Host::Bochs, args).expect("a manifest") }
}

fn under(load: &str) -> Scenario {
    bochs(&format!("expiries count=500 period=30011 load={load}"))
}

#[track_caller]
fn measured(reports: &[&Report]) -> Measured {
    let mut measured = Measured::default();
    for report in reports {
        measured.add(report).unwrap_or_else(|error| panic!("{error}\n{}", report.lines.join("\n")));
    }
    measured.bound();
    measured
}

/// Asserts that every interrupt was handled, and none came twice.
#[track_caller]
fn handled_once(row: &Expiries, report: &Report) {
    let injected = report.exits["a"]["interrupts"];
    assert_eq!((row.expiries, row.missed), (injected, 0), "{:#?}", report.lines);
    // An interrupt that came early would have waited for no time at all.
    assert!(row.min > 0 && row.histogram.iter().map(|(_, count)| count).sum::<u64>() == injected, "{row:?}");
}

/// Calls that stay within the ring's arrays, and calls that go over their end, each take the same. The window is open
/// for less than a call.
#[test]
fn calls_of_one_kind_in_bochs_all_take_the_same() {
    let args = "calls count=2000 bursts=1,32 frames=64";
    let rows = measured(&[&in_bochs(&bochs(args))]).calls;
    assert_eq!(
        rows.iter().map(|row| (row.burst, row.over_the_end)).collect::<Vec<_>>(),
        [(1, false), (32, false), (32, true)]
    );
    for row in &rows {
        assert!(row.variance == 0.0 && row.min == row.max && row.unit == "instructions", "{row:?}");
        assert!(row.window_max.is_some_and(|window| window < row.min && window > row.min - 250), "{row:?}");
    }
    assert!(rows[1].calls >= 2000 && rows[2].min > rows[1].min, "{rows:?}");
}

/// Interrupts come due at all places of a call, but come in home: none ends a call, and none waits for more than a
/// window and two exits, one of which an idle VM has, too.
#[test]
fn interrupts_in_bochs_wait_for_one_window_at_most() {
    let calls = in_bochs(&bochs("calls count=500 bursts=32 frames=64"));
    let all = ["idle", "busy", "32x64"].map(|load| expiries(&under(load)));
    all.iter().for_each(|(row, report)| handled_once(row, report));
    let measured = measured(&[&calls, &all[0].1, &all[1].1, &all[2].1]);
    assert_eq!(measured.broken(), Vec::<String>::new());
    let (loaded, report) = (&measured.expiries[2], &all[2].1);
    assert!(loaded.bound.is_some_and(|bound| loaded.max <= bound), "{loaded:?}");
    // Interrupts did come due while a window was open, and waited for it.
    assert!(loaded.max > measured.expiries[1].max + 1000, "{loaded:?}");
    assert!(report.exits["a"]["interrupt_window"] > 100, "{:?}", report.exits);
    assert_eq!(report.exits["a"]["aborts"], 0, "{:?}", report.exits);
}

/// An interrupt comes due at each instruction from the API's first to behind its last, also on the way into the gate,
/// where interrupts are still on.
#[test]
fn interrupts_that_come_due_at_each_instruction_in_bochs_come_in_home() {
    let args = "expiries count=4000 period=1000003 load=each";
    let (row, report) = expiries(&bochs(args));
    handled_once(&row, &report);
    // Gate, window page and window code of one frame have more than 200 instructions, and less than 350.
    let waited = report.exits["a"]["interrupt_window"];
    assert!((200..350).contains(&waited) && report.exits["a"]["aborts"] == 0, "{:?}", report.exits);
    assert!(row.max <= 2 * row.exit + 350, "{row:?}");
}

/// Whatever the peer's ring makes of a call: once an interrupt is due in the window the call has `grace_ticks`, here as
/// many as `watchdog_ticks`, and is aborted then. A call of 256 long frames takes 50,000 instructions here. Aborted
/// calls are made again. With the first period every expiry comes in the window; with the second, of which a call's
/// length is no divisor either, some come on the way into it, where a call has 10,000 ticks at least.
#[test]
fn interrupts_in_bochs_wait_for_long_calls_as_long_as_the_watchdog_lets_them() {
    const WATCHDOG: u64 = 5_000;
    for (period, limit) in [(170_003, WATCHDOG), (180_001, 10_000)] {
        let scenario = bochs(&format!("expiries count=60 period={period} load=256x1518"));
        let manifest = format!("watchdog_ticks = {WATCHDOG}\n{}", scenario.manifest);
        let (row, report) = expiries(&Scenario { manifest, ..scenario });
        handled_once(&row, &report);
        assert!(row.aborted > 10 && row.aborted == report.exits["a"]["aborts"], "{row:?}");
        // The exits are in the gate or the window, at the end, and in home, and one undoes what the call did.
        let exits = if limit == WATCHDOG { 3 } else { 4 };
        assert!(row.max > WATCHDOG && row.max <= limit + exits * row.exit, "{row:?}");
    }
}

/// A call that an interrupt finds in the window is aborted at once. One that it finds in the gate goes on, to where the
/// interrupt can come.
#[test]
fn interrupts_in_bochs_come_where_calls_get_no_grace() {
    let scenario = bochs("expiries count=4000 period=1000003 load=each");
    let manifest = format!("grace_ticks = 0\n{}", scenario.manifest);
    let (row, report) = expiries(&Scenario { manifest, ..scenario });
    handled_once(&row, &report);
    let (aborts, waited) = (report.exits["a"]["aborts"], report.exits["a"]["interrupt_window"]);
    assert!(aborts > 100 && row.aborted == aborts && waited > aborts, "{:?}", report.exits);
}

/// The longest call has 256 frames, each over 64 descriptors, for which the window has no fast loop. It takes far less
/// than the watchdog's shortest default.
#[test]
fn the_longest_chains_in_bochs_make_the_longest_calls() {
    let vm = |name, image, args, rest| {
        format!(
            "[[vm]]\nname = \"{name}\"\nimage = \"{image}\"\nargs = \"{args}\"\nram_mib = 16\n\
             gate = \"isolated\"\n{rest}\n"
        )
    };
    let sender = vm("a", "latency", "calls count=2 bursts=256 frames=1514", "peers = [\"b\"]");
    let manifest = format!("quantum_ticks = 4000000000\n{sender}{}", vm("b", "attack", "chains", ""));
    let rows = measured(&[&in_bochs(&Scenario::new(manifest))]).calls;
    println!("{rows:?}");
    let longest = rows.iter().filter_map(|row| row.window_max).max().expect("a window");
    assert!(rows.iter().all(|row| row.variance == 0.0) && (500_000..LONGEST).contains(&longest), "{rows:?}");
}

#[test]
fn a_process_measures_the_same() {
    let run = |args: &str| embedded(&scenario(Host::Embedded, args).expect("a manifest"));
    let reports = [
        "calls count=500 bursts=32 frames=64",
        "expiries count=50 period=1000000 load=idle",
        "expiries count=50 period=1000000 load=32x64",
    ]
    .map(run);
    let Measured { calls, expiries } = measured(&[&reports[0], &reports[1], &reports[2]]);
    assert!(calls.iter().all(|row| row.unit == "cycles" && row.window_max.is_none() && row.calls > 0), "{calls:?}");
    for row in &expiries {
        assert!(row.unit == "nanoseconds" && row.expiries >= 50 && row.min > 0 && row.bound.is_none(), "{row:?}");
    }
}
