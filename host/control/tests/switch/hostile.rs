//! Drivers that break the protocol, or take more than their share.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_abi::mmio::reg;
use sluice_abi::virtq::Desc;

const ALL: [&str; 3] = ["lan = [\"b\", \"c\"]", "lan = [\"a\", \"c\"]", "lan = [\"a\", \"b\"]"];

/// Where queue `index` has its descriptors.
fn ring(index: u16) -> u64 {
    RINGS + u64::from(index) * RING_STRIDE
}

/// c still answers b.
fn others_go_on(b: &mut Driver<'_>, c: &mut Driver<'_>) {
    c.send(&frame(mac(1), mac(2), 7));
    assert_eq!(b.received(), [frame(mac(1), mac(2), 7)]);
    b.send(&frame(mac(2), mac(1), 8));
    assert_eq!(c.received(), [frame(mac(2), mac(1), 8)]);
}

#[test]
fn a_transmit_queue_that_breaks_the_protocol_is_left_alone_until_it_starts_anew() {
    for features in [F::VERSION_1, F::RING_PACKED] {
        let world = World::new(&ALL);
        let [mut a, mut b, mut c] = [0, 1, 2].map(|vm| world.start(vm, features, 1));
        a.put(0, &Hdr::default(), &frame(BROADCAST, mac(0), 1));
        (0..u64::from(SIZE)).for_each(|index| a.ram().write(ring(1) + 16 * index, RAM - 1).expect("inside"));
        a.publish(0);
        assert_eq!((world.counters(0).broken, b.received().len(), c.received().len()), (1, 0, 0));
        a.put(0, &Hdr::default(), &frame(BROADCAST, mac(0), 2));
        a.publish(0);
        assert_eq!((world.counters(0).broken, b.received().len()), (1, 0), "counted once");
        others_go_on(&mut b, &mut c);
        // What is sent to it still arrives: its receive queue is in order.
        b.send(&frame(mac(0), mac(1), 3));
        assert_eq!(a.received().len(), 1);
        let mut a = world.start(0, features, 1);
        a.send(&frame(mac(1), mac(0), 4));
        assert_eq!(b.received().len(), 1);
    }
}

#[test]
fn a_receive_queue_that_breaks_the_protocol_is_left_alone_until_it_starts_anew() {
    let world = World::new(&ALL);
    let [mut a, b, mut c] = [0, 1, 2].map(|vm| world.start(vm, F::VERSION_1, 1));
    (0..u64::from(SIZE)).for_each(|index| b.ram().write(ring(0) + 16 * index, RAM - 1).expect("inside"));
    for _ in 0..3 {
        a.send(&frame(BROADCAST, mac(0), 1));
    }
    assert_eq!(c.received().len(), 3);
    assert_eq!(world.counters(1), Counters { broken: 1, no_queue: 2, ..Counters::default() });
    let mut b = world.start(1, F::VERSION_1, 1);
    others_go_on(&mut b, &mut c);
}

#[test]
fn a_control_queue_that_breaks_the_protocol_is_left_alone_and_the_port_goes_on() {
    let chains: [&[(u64, u32, u16)]; 4] = [
        // No room for the answer; only that; the answer first; an answer outside.
        &[(SENT, 8, 0)],
        &[(SENT, 0, 0)],
        &[(SENT, 1, 2), (SENT, 8, 0)],
        &[(SENT, 8, 0), (RAM, 1, 2)],
    ];
    for chain in chains {
        let world = World::new(&ALL);
        let [mut a, mut b] = [0, 1].map(|vm| world.start(vm, F::CTRL_VQ | F::CTRL_RX, 1));
        let control = ring(2);
        for (index, &(addr, len, flags)) in chain.iter().enumerate() {
            let next = u16::from(index + 1 < chain.len());
            let desc = Desc { addr: Gpa(addr), len, flags: flags | next, next: index as u16 + 1 };
            a.ram().write(control + 16 * index as u64, desc).expect("inside");
        }
        let at = a.control.as_ref().expect("a queue").queue().addresses();
        a.ram().write(at.driver.0 + 2, 1u16).expect("inside");
        a.device().write(reg::QUEUE_NOTIFY, 2);
        assert_eq!(world.counters(0).broken, 1, "{chain:?}");
        assert_eq!(bytes(a.ram(), at.device.0 + 2, 2), [0, 0], "nothing is used");
        a.send(&frame(mac(1), mac(0), 1));
        assert_eq!((b.received().len(), world.counters(0).broken), (1, 1));
    }
}

#[test]
fn a_service_takes_so_many_frames_and_no_more() {
    let world = World::new(&["lan = [\"b\"]", ""]);
    let a = world.start(0, F::VERSION_1, 1);
    // The avail ring names the same buffer again and again: more than one service takes.
    let at = a.transmit[0].addresses();
    a.ram().copy_from_slice(SENT, &[&[0; 12][..], &frame(mac(1), mac(0), 1)].concat()).expect("inside");
    a.ram().write(at.desc.0, Desc { addr: Gpa(SENT), len: 72, flags: 0, next: 0 }).expect("inside");
    let mut taken = 0;
    for round in 1..=4u16 {
        a.ram().write(at.driver.0 + 2, round * SIZE).expect("inside");
        world.serve(0);
        taken += u64::from(SIZE);
        assert_eq!(world.counters(0).taken, taken);
    }
    // Sixteen commands at a time, too: each more is left for the next turn.
    let mut b = world.start(1, F::CTRL_VQ | F::RING_PACKED, 1);
    b.send(&frame(mac(0), mac(1), 1));
    assert_eq!(world.counters(1).denied, 1);
}

#[test]
fn a_notification_for_nothing_or_of_no_queue_does_no_harm() {
    let world = World::new(&ALL);
    let mut device = Device(&world, 0);
    for index in [0, 1, 2, 3, 31, 32, 33, u32::MAX] {
        device.write(reg::QUEUE_NOTIFY, index);
    }
    let a = world.start(0, F::CTRL_VQ, 1);
    for index in [0, 1, 2, 3, 31, 32, 33, u32::MAX] {
        a.device().write(reg::QUEUE_NOTIFY, index);
    }
    assert_eq!(world.serve(99), Served::default());
    assert_eq!(world.counters(0), Counters::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// Whatever a driver writes into its rings and buffers, others get only frames that may reach them, and go on.
    #[test]
    fn whatever_is_written_only_permitted_frames_arrive(
        writes in vec((0..3u64, 0..RING_STRIDE / 8, any::<u64>()), 1..200),
        packed: bool,
    ) {
        let world = World::new(&["lan = [\"b\"]", "lan = [\"c\"]", "lan = [\"b\"]"]);
        let features = if packed { F::RING_PACKED } else { F::VERSION_1 };
        let a = world.start(0, features | F::CTRL_VQ | F::CTRL_RX | F::INDIRECT_DESC, 1);
        let (mut b, mut c) = (world.start(1, F::VERSION_1, 1), world.start(2, F::VERSION_1, 1));
        for (round, &(queue, word, value)) in writes.iter().enumerate() {
            // Now and then what makes sense, so that more is looked at.
            let value = match round % 4 {
                0 => value,
                1 => SENT + value % 0x100,
                2 => 72 | (value & 7) << 32 | (value & 31) << 48,
                _ => value & 0x1f_001f,
            };
            a.ram().write(RINGS + queue * RING_STRIDE + 8 * (word % if round % 2 == 0 { 80 } else { 2048 }), value).expect("inside");
            a.ram().copy_from_slice(SENT + 12, &frame(mac(1), mac(0), 1)).expect("inside");
            a.device().write(reg::QUEUE_NOTIFY, 1 + round as u32 % 2);
            for arrived in b.received() {
                prop_assert!(arrived.get(6..12) == Some(&mac(0)[..]));
            }
            prop_assert!(c.received().is_empty());
        }
        c.send(&frame(mac(1), mac(2), 7));
        prop_assert_eq!(b.received(), [frame(mac(1), mac(2), 7)]);
    }
}
