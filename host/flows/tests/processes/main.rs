//! An in-VM switch that is a process, which the host stops and kills at any instruction while it changes the table.
//!
//! The test is the host and both receivers. The switch is this program again, with all that they share on its standard
//! input: see [`switch`]. It sends the frames of one flow, which goes to b by every other entry and to c by the others.
//! Each entry writes its number into its frames, so that a receiver knows by which entry each frame came.

mod host;
mod life;
mod memory;
mod seen;
mod switch;
#[path = "../../../../fastpath/tests/world/mod.rs"]
#[allow(dead_code, reason = "the tests of ports use more of it")]
mod world;

use host::{Host, MS, REVOKE, SECOND};
use memory::{Pace, now};
use seen::Seen;

/// Longer than this test lasts.
const LEASE: u64 = 1_000 * SECOND;

/// Runs the switch in the place of test `name`, if this process was started for that, and the test otherwise.
fn beside(name: &str, test: impl FnOnce(&str)) {
    if std::env::var_os(life::VARIABLE).is_some() { switch::run() } else { test(name) }
}

/// Changes the flow `rate` times a second for `time`, and says what that took. The switch is stopped and killed at
/// random, or is left alone.
fn change(host: &mut Host, rate: u64, time: u64, stops: bool) {
    let (start, before) = (now(), host.seen);
    let mut next = start;
    while now() < start + time {
        if rate > 0 && now() >= next && host.change() {
            next += SECOND / rate;
        }
        host.turn();
        if stops {
            host.stop_at_random();
        }
    }
    host.settle();
    println!("{rate} changes a second, stops {stops}: {}", host.seen.since(&before, &host.waits));
    host.waits.clear();
}

/// Changes the flow 10,000 times a second and stops the switch until `is_enough`. A busy machine takes longer.
fn change_until(host: &mut Host, is_enough: impl Fn(&Host) -> bool) {
    let deadline = now() + 60 * SECOND;
    while !is_enough(host) {
        assert!(now() < deadline, "too little was seen: {:?}", host.seen);
        change(host, 10_000, SECOND / 2, true);
    }
}

#[test]
fn consistency_c1_c7_nothing_goes_by_an_entry_that_is_gone_and_counts_are_exact_as_processes() {
    beside("consistency_c1_c7_nothing_goes_by_an_entry_that_is_gone_and_counts_are_exact_as_processes", |name| {
        let mut host = Host::new(name, Pace::Window, LEASE);
        for (rate, time) in [(0, SECOND / 4), (1, 2 * SECOND), (100, SECOND), (10_000, 2 * SECOND)] {
            change(&mut host, rate, time, true);
        }
        change_until(&mut host, |host| {
            let Seen { changes, frames, stops, kills, .. } = host.seen;
            changes > 1_000 && frames > 5_000 && stops > 100 && kills > 10
        });
        change(&mut host, 10_000, SECOND, false);
        // C4: there was an entry for the flow in each epoch.
        assert_eq!(host.counter("missed"), 0, "frames without an entry");
    });
}

#[test]
fn consistency_c1_frames_that_wait_in_a_process_are_gone_with_their_entry() {
    beside("consistency_c1_frames_that_wait_in_a_process_are_gone_with_their_entry", |name| {
        let mut host = Host::new(name, Pace::Flood, LEASE);
        change(&mut host, 100, SECOND / 2, true);
        // Frames find full rings, and are dropped when their entry goes.
        change_until(&mut host, |host| {
            let enough = host.seen.changes > 500 && host.seen.frames > 5_000;
            enough && host.counter("full") > 0 && host.counter("stale") > 0
        });
    });
}

/// A switch that is stopped, and not at rest, holds a change until it is killed, and no longer.
#[test]
fn consistency_c2_a_process_that_is_stopped_holds_a_change_until_it_is_killed() {
    beside("consistency_c2_a_process_that_is_stopped_holds_a_change_until_it_is_killed", |name| {
        let mut host = Host::new(name, Pace::Flood, LEASE);
        for _ in 0..10 {
            host.run(5 * MS);
            // What is at rest holds nothing: it goes on until it is found awake.
            while !host.stop_unless_at_rest() {
                host.run(MS);
            }
            let (kills, stopped) = (host.seen.kills, now());
            assert!(host.change());
            while host.is_pending() {
                assert_eq!(host.seen.kills, kills, "the change is not done, and the switch is killed");
                host.turn();
            }
            assert_eq!(host.seen.kills, kills + 1, "the change was done, and the switch had not reported");
            assert!(now() - stopped > REVOKE);
        }
        println!("stopped: {}", host.seen.since(&Seen::default(), &host.waits));
    });
}

/// A host that falls silent: the switch sends nothing once the lease is over, and goes on when the host is back.
#[test]
fn consistency_c6_a_process_sends_nothing_while_its_host_is_silent() {
    beside("consistency_c6_a_process_sends_nothing_while_its_host_is_silent", |name| {
        let mut host = Host::new(name, Pace::Window, SECOND / 10);
        host.run(SECOND / 20);
        // A burst that began within the lease goes on to its end, and a switch that says that it had none is in a later
        // one.
        host.take_during(SECOND / 10);
        let (deadline, lapsed) = (now() + 60 * SECOND, host.counter("lapsed"));
        while host.counter("lapsed") == lapsed {
            assert!(now() < deadline, "frames go on behind the lease");
            host.take();
        }
        host.take();
        assert_eq!(host.take_during(50 * MS), 0, "frames behind the lease");
        while host.take_during(20 * MS) == 0 {
            assert!(now() < deadline, "no frame after the host came back");
            host.turn();
        }
    });
}
