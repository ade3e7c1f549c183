//! C8: frames of one flow leave in order, across miss, entry and hit.

use crate::{B, Bench, C, MEANWHILE, frame, now, number_of};
use proptest::collection::vec;
use proptest::prelude::*;
use sluice::{Receive, Transmit};
use sluice_switch::{Action, ActionList, Key, Mask, Parsed};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

#[test]
fn stations_are_learned_and_their_frames_are_hits_from_then_on() {
    let mut bench = Bench::new(None);
    // b is known from its first frame on, which nobody is known for: it is flooded.
    bench.net.arrive(B, frame(9, 1, 5, 0));
    assert_eq!(bench.settle(), [vec![], vec![frame(9, 1, 5, 0)]]);
    bench.net.arrive(C, frame(1, 2, 5, 1));
    assert_eq!(bench.settle(), [vec![frame(1, 2, 5, 1)], vec![]]);
    assert_eq!((bench.stat("missed"), bench.stat("hits")), (2, 1));
    for number in 2..5 {
        bench.net.arrive(C, frame(1, 2, 5, number));
    }
    assert_eq!(bench.settle()[0], [2, 3, 4].map(|number| frame(1, 2, 5, number)));
    assert_eq!((bench.stat("missed"), bench.stat("hits"), bench.stat("forwarded")), (2, 4, 5));
    // A group gets a copy at each port but that of the sender.
    let mut group = frame(1, 2, 5, 9);
    group[0] = 3;
    bench.net.arrive(B, group.clone());
    assert_eq!(bench.settle(), [vec![], vec![group]]);
}

#[test]
fn a_station_that_moves_is_found_at_its_new_port() {
    let mut bench = Bench::new(None);
    for (pair, number) in [(B, 0), (C, 1)] {
        bench.net.arrive(pair, frame(1, pair as u8, 5, number));
        bench.settle();
    }
    bench.net.arrive(C, frame(1, 2, 5, 2));
    assert_eq!(bench.settle()[0].len(), 1);
    // Station 1 sends from where c is: nothing goes to b for it any more.
    bench.net.arrive(C, frame(9, 1, 5, 3));
    bench.settle();
    bench.net.arrive(C, frame(1, 2, 5, 5));
    assert_eq!(bench.settle(), [Vec::<Vec<u8>>::new(), vec![]]);
    bench.net.arrive(B, frame(1, 7, 5, 4));
    assert_eq!(bench.settle(), [vec![], vec![frame(1, 7, 5, 4)]]);
}

/// Frames of one flow that different entries are for: the first one has to wait for the host, and there is none for the
/// second one of the same burst yet.
#[test]
fn consistency_c8_a_miss_does_not_overtake_a_frame_of_its_burst_that_waits() {
    let mut bench = Bench::new(Some(FLOWS));
    let with_ttl = |ttl, number| {
        let mut bytes = frame(2, 1, 1, number);
        bytes[22] = ttl;
        bytes
    };
    // An entry for a time to live of 64 alone, as Open vSwitch has it for `dec_ttl`.
    let key = Parsed::of(0, &with_ttl(64, 0), 60).key;
    let mask = Mask::closed(Key { in_port: u16::MAX, ttl: u8::MAX, ..Key::default() });
    let list = ActionList::new(&[Action::Output(1)], 2).expect("a list");
    bench.net.host(|host| {
        let table = host.table_mut(0).expect("a table");
        table.insert(&key, &mask, &list, now()).expect("room");
        table.publish();
    });
    bench.net.arrive(B, with_ttl(3, 0));
    bench.turn();
    for number in 1..9 {
        bench.net.arrive(B, with_ttl(if number % 3 == 0 { 3 } else { 64 }, number));
    }
    bench.turn();
    assert_eq!((bench.stat("missed"), bench.stat("held"), bench.stat("hits")), (1, 8, 0));
    let arrived: Vec<_> = bench.settle()[1].iter().map(|frame| number_of(frame)).collect();
    assert_eq!(arrived, Vec::from_iter(0..9));
}

/// c takes a frame while a burst goes on: there is room for the frames of that burst, and those that waited come first.
#[test]
fn consistency_c8_frames_that_wait_for_their_peer_are_not_overtaken_when_it_has_room_again() {
    let Bench { net, mut switch, pool, receivers: [_b, c], .. } = Bench::new(Some(FLOWS));
    let (c, received) = (Rc::new(RefCell::new(c)), Rc::new(RefCell::new(Vec::new())));
    let mut burst = pool.burst();
    let mut turn = |numbers: std::ops::Range<u16>| {
        numbers.for_each(|number| net.arrive(B, frame(2, 1, 1, number)));
        switch.rx_burst(&mut burst, 256).expect("frames");
        let count = burst.len();
        assert_eq!(switch.tx_burst(&mut burst, 256), Ok(count));
        net.serve(usize::MAX);
    };
    // The first frame has an entry made; two more than c has room for wait.
    turn(0..1);
    turn(1..2);
    turn(2..258);
    let (take, taken) = (c.clone(), received.clone());
    MEANWHILE.set(Some(Box::new(move || taken.borrow_mut().extend(take.borrow_mut().take()))));
    turn(258..260);
    assert!(MEANWHILE.take().is_none());
    turn(260..260);
    received.borrow_mut().extend(c.borrow_mut().take());
    let numbers: Vec<_> = received.borrow().iter().map(|frame| number_of(frame)).collect();
    assert_eq!(numbers, Vec::from_iter(0..260));
}

/// The flows of the proptest: all to one peer, a few with an entry, a few without.
const FLOWS: &str = r#"
    [[flow]]
    in_port = "b"
    ip_proto = "udp"
    src_port = 1
    actions = ["set_tos 8", "output c"]

    [[flow]]
    in_port = "b"
    actions = ["output c"]
"#;

proptest! {
    /// Frames of flows arrive while the host serves when it wants to, entries come and go, and c's ring is emptied when
    /// c wants to: each flow's frames arrive in order, and none twice.
    #[test]
    fn consistency_c8_frames_of_a_flow_leave_in_order_across_miss_and_hit(
        steps in vec((0u8..6, 0u16..4, 1u16..16), 1..200),
    ) {
        let mut bench = Bench::new(Some(FLOWS));
        let (mut number, mut last, mut received) = (0, BTreeMap::new(), 0);
        let mut take = |bench: &mut Bench, last: &mut BTreeMap<u16, u16>| -> Result<(), TestCaseError> {
            for frame in bench.receivers[1].take() {
                let (flow, now) = (u16::from_be_bytes([frame[34], frame[35]]), number_of(&frame));
                prop_assert!(last.insert(flow, now).is_none_or(|before| before < now), "frame {now} of flow {flow}");
                received += 1;
            }
            Ok(())
        };
        for (step, flow, count) in steps {
            match step {
                0 | 1 => {
                    (number..number + count).for_each(|number| bench.net.arrive(B, frame(2, 1, flow, number)));
                    number += count;
                    bench.turn();
                }
                2 => bench.turn(),
                3 => drop(bench.net.serve(usize::from(flow) + 1)),
                4 => take(&mut bench, &mut last)?,
                _ => bench.net.host(|host| {
                    let table = host.table_mut(0).expect("a table");
                    table.remove_all(|_| true);
                    table.publish();
                    host.turn(crate::now(), |_, _| ());
                }),
            }
        }
        for _ in 0..16 {
            bench.turn();
            bench.net.serve(usize::MAX);
            take(&mut bench, &mut last)?;
        }
        let lost = ["full", "stale", "again_lost", "hold_full", "slow_full"].map(|name| bench.stat(name));
        prop_assert_eq!(received + lost.iter().sum::<u64>(), u64::from(number), "{:?}", lost);
    }
}
