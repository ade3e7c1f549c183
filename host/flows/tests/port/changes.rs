//! Changes of the table: what is done, when windows are closed, and what is counted.

use crate::{B, Bench, C, IDLE, LEASE, REVOKE, frame, now, wait};
use sluice_flows::Windows;
use sluice_switch::{Action, ActionList, Key, Mask, Parsed};

const TO_C: &str = r#"
    [[flow]]
    in_port = "b"
    actions = ["output c"]
"#;

/// Returns a switch in which the flow has an entry.
fn established() -> Bench {
    let mut bench = Bench::new(Some(TO_C));
    bench.net.arrive(B, frame(2, 1, 5, 0));
    assert_eq!(bench.settle()[1].len(), 1);
    bench
}

/// C1: frames that wait in the switch by an entry that is gone are not sent once the change is done.
#[test]
fn consistency_c1_frames_that_wait_are_gone_with_their_entry() {
    let mut bench = established();
    for number in 0..300 {
        bench.net.arrive(B, frame(2, 1, 5, number));
    }
    bench.turn();
    bench.turn();
    // c's ring has 256 buffers; the others wait, as many as may.
    let waiting = 300 - 256;
    assert_eq!((bench.stat("forwarded"), bench.stat("full")), (257, 0));
    let epoch = bench.net.host(|host| {
        let table = host.table_mut(0).expect("a table");
        assert_eq!(table.remove_all(|_| true), 1);
        table.publish()
    });
    let is_done = |bench: &Bench| {
        bench.net.host(|host| {
            host.turn(now(), |_, _| ());
            host.table(0).expect("a table").is_done(epoch)
        })
    };
    assert!(!is_done(&bench));
    bench.turn();
    assert!(is_done(&bench));
    assert_eq!(bench.stat("stale"), waiting);
    assert_eq!(bench.receivers[1].take().len(), 256);
    bench.turn();
    assert_eq!(bench.receivers[1].take().len(), 0);
}

/// C1: frames that wait by an entry that goes in the middle of their burst are gone before the change is reported.
#[test]
fn consistency_c1_frames_of_a_burst_are_not_sent_once_a_change_within_it_is_done() {
    let mut bench = established();
    (0..300).for_each(|number| bench.net.arrive(B, frame(2, 1, 5, number)));
    bench.turn();
    bench.turn();
    // A frame of another port has no entry, and goes to the host behind those that wait.
    bench.net.arrive(C, frame(1, 2, 5, 0));
    bench.net.0.borrow_mut().meanwhile = Some(|host| {
        let table = host.table_mut(0).expect("a table");
        assert_eq!(table.remove_all(|_| true), 1);
        table.publish();
    });
    bench.turn();
    let is_done = bench.net.host(|host| {
        host.turn(now(), |_, _| ());
        let table = host.table(0).expect("a table");
        table.is_done(table.epochs()[0])
    });
    assert!(is_done && bench.net.0.borrow().meanwhile.is_none());
    assert_eq!(bench.receivers[1].take().len(), 256);
    bench.turn();
    assert_eq!((bench.receivers[1].take().len(), bench.stat("stale")), (0, 44));
}

/// Frames that wait hold no change for ever: they are sent first if there is room.
#[test]
fn consistency_c2_frames_that_wait_go_before_a_change_if_their_peer_has_room() {
    let mut bench = established();
    (0..300).for_each(|number| bench.net.arrive(B, frame(2, 1, 5, number)));
    bench.turn();
    bench.turn();
    assert_eq!(bench.receivers[1].take().len(), 256);
    bench.net.host(|host| {
        let table = host.table_mut(0).expect("a table");
        table.remove_all(|_| true);
        table.publish();
    });
    bench.turn();
    assert_eq!((bench.receivers[1].take().len(), bench.stat("stale")), (44, 0));
}

/// C2: a VM that does not report loses its windows after the bound, and has them again when it reports.
#[test]
fn consistency_c2_who_does_not_report_loses_the_windows_until_it_does() {
    let mut bench = established();
    let look = |bench: &Bench| {
        let mut asked = Vec::new();
        bench.net.host(|host| host.turn(now(), |vm, windows| asked.push((vm, windows))));
        asked
    };
    let change = |bench: &Bench| {
        bench.net.host(|host| {
            let table = host.table_mut(0).expect("a table");
            table.remove_all(|_| true);
            table.publish()
        })
    };
    assert_eq!(look(&bench), []);
    let epoch = change(&bench);
    assert_eq!(look(&bench), []);
    wait(REVOKE + 1);
    assert_eq!(look(&bench), [(0, Windows::Close)]);
    let is_done = |bench: &Bench| bench.net.host(|host| host.table(0).expect("a table").is_done(epoch));
    assert!(!is_done(&bench), "the windows are not closed yet");
    bench.net.host(|host| host.closed(0, now()));
    assert_eq!((look(&bench), is_done(&bench)), (vec![], true));
    // Another change waits for nobody, and the VM has no windows before it reports that one.
    let epoch = change(&bench);
    assert_eq!(look(&bench), []);
    assert!(bench.net.host(|host| host.table(0).expect("a table").is_done(epoch)));
    bench.turn();
    assert_eq!(look(&bench), [(0, Windows::Open)]);
    assert_eq!(look(&bench), []);
}

/// A VM at rest holds no change, however long it sleeps.
#[test]
fn consistency_c2_a_switch_at_rest_holds_no_change() {
    let mut bench = established();
    bench.switch.rest();
    wait(10 * REVOKE);
    let done = bench.net.host(|host| {
        let epoch = {
            let table = host.table_mut(0).expect("a table");
            table.remove_all(|_| true);
            table.publish()
        };
        host.turn(now(), |_, windows| panic!("{windows:?}"));
        host.table(0).expect("a table").is_done(epoch)
    });
    assert!(done);
}

/// C6: a host that is silent for longer than the lease ends all hits, and one that comes back goes on.
#[test]
fn consistency_c6_silence_of_the_host_ends_all_hits() {
    let mut bench = established();
    wait(LEASE + 1);
    bench.net.arrive(B, frame(2, 1, 5, 1));
    bench.turn();
    assert_eq!((bench.receivers[1].take().len(), bench.stat("lapsed")), (0, 1));
    bench.net.host(|host| host.turn(now(), |_, _| ()));
    assert_eq!(bench.settle()[1], [frame(2, 1, 5, 1)]);
}

/// C9: a table that names a peer whose window is closed, or one that never had a window, reaches nobody by that. The
/// entries stay, and what they say of others is done.
#[test]
fn consistency_c9_an_entry_reaches_nobody_whose_window_is_closed() {
    let mut bench = established();
    // A forged entry: its port is no peer's.
    bench.net.host(|host| {
        let table = host.table_mut(0).expect("a table");
        let forged = ActionList::new(&[Action::Output(40)], 64).expect("a list");
        let parsed = Parsed::of(1, &frame(1, 2, 5, 0), 60);
        table
            .insert(&parsed.key, &Mask::closed(Key { in_port: u16::MAX, ..Key::default() }), &forged, now())
            .expect("room");
        table.publish();
    });
    let sends = |bench: &mut Bench| {
        bench.net.arrive(B, frame(2, 1, 5, 1));
        bench.net.arrive(C, frame(1, 2, 5, 2));
        bench.settle()
    };
    assert_eq!(sends(&mut bench), [vec![], vec![frame(2, 1, 5, 1)]]);
    bench.world.gone(1);
    assert_eq!(sends(&mut bench), [Vec::<Vec<u8>>::new(), vec![]]);
    assert_eq!((bench.stat("hits"), bench.stat("not_ready"), bench.stat("forwarded")), (5, 3, 2));
    assert_eq!(bench.net.host(|host| host.table(0).expect("a table").len()), 2, "the entries are there");
}

/// C7: what the host counts for a flow is what matched.
#[test]
fn consistency_c7_flows_are_counted_and_go_when_they_are_not_used() {
    let mut bench = Bench::new(Some(TO_C));
    (0..10).for_each(|number| bench.net.arrive(B, frame(2, 1, 5, number)));
    bench.net.arrive(C, frame(1, 2, 5, 0));
    assert_eq!(bench.settle()[1].len(), 10);
    let counts = |bench: &Bench| {
        bench.net.host(|host| {
            let table = host.table_mut(0).expect("a table");
            table.collect_all();
            table.flows().map(|flow| (flow.key.in_port, flow.counts.packets, flow.counts.bytes)).collect::<Vec<_>>()
        })
    };
    // Port 0 is b, and c has no flow of its own but the one that drops its frames.
    assert_eq!(counts(&bench), [(0, 10, 600), (1, 1, 60)]);
    for _ in 0..2 {
        wait(IDLE + 1);
        bench.net.host(|host| host.turn(now(), |_, _| ()));
    }
    assert_eq!(counts(&bench), []);
}

/// C7: the counts of a flow go on where they were when the VM starts anew.
#[test]
fn consistency_c7_counts_go_on_over_a_start_of_the_vm() {
    let mut bench = established();
    (0..9).for_each(|number| bench.net.arrive(B, frame(2, 1, 5, number)));
    bench.settle();
    let counts = |bench: &Bench| {
        bench.net.host(|host| {
            let table = host.table_mut(0).expect("a table");
            table.collect_all();
            table.flows().map(|flow| flow.counts.packets).sum::<u64>()
        })
    };
    assert_eq!(counts(&bench), 10);
    bench.net.host(|host| {
        host.end(0);
        host.start(0, now());
    });
    assert_eq!(counts(&bench), 10);
    (0..3).for_each(|number| bench.net.arrive(B, frame(2, 1, 5, number)));
    bench.settle();
    assert_eq!(counts(&bench), 13);
}
