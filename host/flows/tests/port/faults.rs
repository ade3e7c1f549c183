//! Peers that are away, a slow path without room, and answers that are none.

use crate::{B, Bench, C, SLOW, frame};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice::PeerIdx;
use sluice_abi::flows::{SlowHeader, SlowKind};
use sluice_switch::SwitchStats;
use zerocopy::IntoBytes;

const BOTH: &str = r#"
    [[flow]]
    in_port = "b"
    ip_proto = "udp"
    src_port = 7
    actions = ["output b"]

    [[flow]]
    in_port = "b"
    actions = ["output c"]
"#;

/// Returns a switch in which both flows have an entry.
fn established() -> Bench {
    let mut bench = Bench::new(Some(BOTH));
    for port in [5, 7] {
        bench.net.arrive(B, frame(2, 1, port, 0));
    }
    assert_eq!(bench.settle().map(|frames| frames.len()), [1, 1]);
    bench
}

#[test]
fn a_peer_that_is_gone_costs_the_others_no_frame() {
    let mut bench = established();
    bench.world.gone(1);
    for number in 0..100 {
        bench.net.arrive(B, frame(2, 1, if number % 2 == 0 { 5 } else { 7 }, number));
    }
    assert_eq!(bench.settle()[0].len(), 50);
    assert_eq!(bench.stat("not_ready"), 50);
    assert_eq!(bench.switch.stats_of(PeerIdx(0)).packets, 51);
    assert!(bench.switch.is_open());
    bench.world.gone(0);
    assert!(!bench.switch.is_open());
}

/// A peer that takes nothing holds its own frames, a bounded number of them, and nobody else's.
#[test]
fn a_peer_that_takes_nothing_holds_a_bounded_number_of_frames() {
    let mut bench = established();
    for number in 0..20 {
        (0..50).for_each(|_| bench.net.arrive(B, frame(2, 1, 5, number)));
        bench.net.arrive(B, frame(2, 1, 7, number));
        bench.turn();
    }
    assert_eq!(bench.receivers[0].take().len(), 20);
    assert_eq!((bench.stat("full"), bench.receivers[1].take().len()), (1000 - 256 - 64, 256));
    bench.turn();
    assert_eq!(bench.receivers[1].take().len(), 64);
}

/// Frames of new flows that find no room on the slow path are dropped, and established flows go on.
#[test]
fn a_full_slow_path_costs_established_flows_nothing() {
    let mut bench = established();
    bench.net.0.borrow_mut().room = 8;
    // Other stations, so that no place is shared with the established flow.
    for round in 0..5 {
        (0..100).for_each(|number| bench.net.arrive(C, frame(200, 100, number, round)));
        (0..20).for_each(|number| bench.net.arrive(B, frame(2, 1, 5, number)));
        bench.turn();
    }
    let held = bench.stat("held");
    assert_eq!(held, 0, "no place of the new flows is that of the established one");
    assert_eq!((bench.stat("slow_full"), bench.receivers[1].take().len()), (500 - 8 - 256, 100));
    // What waits goes to the host when there is room.
    bench.net.0.borrow_mut().room = 1000;
    bench.switch.rest();
    assert_eq!(bench.net.serve(usize::MAX), 8 + 256);
}

/// Returns an answer of this kind.
fn answer(kind: u32, port: u32, number: u64, frame: &[u8]) -> Vec<u8> {
    [SlowHeader { kind, port, number }.as_bytes(), frame].concat()
}

#[test]
fn what_the_host_returns_goes_to_all_ports_that_it_names() {
    let mut bench = Bench::new(Some(BOTH));
    let bytes = frame(2, 1, 5, 1);
    bench.net.arrive(SLOW, answer(SlowKind::Output as u32, 0, 0b11, &bytes));
    assert_eq!(bench.settle(), [vec![bytes.clone()], vec![bytes.clone()]]);
    // A port that is no peer's costs the others nothing.
    bench.net.arrive(SLOW, answer(SlowKind::Output as u32, 0, 1 << 40 | 1, &bytes));
    assert_eq!(bench.settle(), [vec![bytes.clone()], vec![]]);
    for bad in [answer(9, 0, 1, &bytes), vec![1; 15], answer(SlowKind::Output as u32, 0, 1, &[])] {
        bench.net.arrive(SLOW, bad);
    }
    assert_eq!(bench.settle(), [Vec::<Vec<u8>>::new(), vec![]]);
    assert_eq!(bench.stat("slow_bad"), 3);
    // The entry that the host says is there is not: the frame is dropped, and not sent round for ever.
    bench.net.arrive(SLOW, answer(SlowKind::Again as u32, 77, 0, &bytes));
    bench.settle();
    assert_eq!(bench.stat("again_lost"), 1);
}

proptest! {
    /// Whatever lies on the slow path, nothing but a counter comes of what is no answer, and no buffer is lost.
    #[test]
    fn answers_that_are_none_are_counted(answers in vec(vec(any::<u8>(), 1..80), 1..40)) {
        let mut bench = Bench::new(Some(BOTH));
        let free = bench.pool.available();
        for bytes in answers {
            bench.net.arrive(SLOW, bytes);
        }
        bench.net.arrive(C, frame(1, 2, 3, 4));
        bench.settle();
        bench.switch.rest();
        bench.receivers.iter_mut().for_each(|receiver| drop(receiver.take()));
        drop(bench.switch);
        prop_assert_eq!(bench.pool.available(), free);
    }
}

/// The counters that the host reads are those of the switch.
#[test]
fn the_host_reads_the_counters() {
    let mut bench = Bench::new(Some(BOTH));
    bench.net.arrive(B, frame(2, 1, 5, 0));
    bench.settle();
    bench.switch.rest();
    let own: Vec<_> = bench.switch.stats().xstats().collect();
    let read = bench
        .net
        .host(|host| SwitchStats::copied(host.table(0).expect("a table").memory().counters()).collect::<Vec<_>>());
    assert_eq!((read, bench.records.len()), (own, 2 << 20));
}
