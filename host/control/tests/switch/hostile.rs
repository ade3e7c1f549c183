//! Drivers that break the protocol, or take more than their share.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_abi::mmio::reg;
use sluice_abi::virtq::{Desc, QueueAddresses};

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
fn queues_outside_ram_are_none_and_each_is_counted_once() {
    let world = World::new(&ALL);
    let mut device = Device(&world, 0);
    let mut setup = Setup::new(&mut device, Wanted { features: F::VERSION_1, pairs: 1 }).expect("a device");
    for index in 0..2 {
        let memory = world.rams[0].sub(ring(index), RING_STRIDE).expect("inside");
        let (gpa, features) = (Gpa(RAM - 64 * u64::from(index)), setup.agreed().features);
        let queue = DriverQueue::<N>::new(gpa, memory, SIZE, features).expect("a queue");
        setup.set_queue(index, &queue).expect("taken");
    }
    setup.start();
    let [mut b, mut c] = [1, 2].map(|vm| world.start(vm, F::VERSION_1, 1));
    for round in 1..4 {
        b.send(&frame(mac(0), mac(1), 1));
        device.write(reg::QUEUE_NOTIFY, 1);
        assert_eq!(world.counters(0), Counters { broken: 2, no_queue: round, ..Counters::default() });
    }
    others_go_on(&mut b, &mut c);
}

/// A device that offers no MTU, if `0`.
struct Offering<'w>(bool, Device<'w>);

impl Registers for Offering<'_> {
    fn read(&mut self, register: u32) -> u32 {
        let hidden = if register == reg::DEVICE_FEATURES && !self.0 { F::MTU.bits() as u32 } else { 0 };
        self.1.read(register) & !hidden
    }

    fn write(&mut self, register: u32, value: u32) {
        self.1.write(register, value);
    }
}

/// A driver that agreed on an MTU owes buffers for frames of it; another one may give what it likes. See: VIRTIO
/// 5.1.6.3.1 "Driver Requirements: Setting Up Receive Buffers".
#[test]
fn buffers_that_are_too_short_are_a_fault_of_a_driver_that_owes_longer_ones() {
    for owes in [true, false] {
        let world = World::new(&ALL);
        let (mut device, ram) = (Offering(owes, Device(&world, 0)), world.rams[0]);
        let mut setup = Setup::new(&mut device, Wanted { features: F::VERSION_1, pairs: 1 }).expect("a device");
        let features = setup.agreed().features;
        assert_eq!(features.contains(F::MTU), owes);
        let queue = |index: u16| {
            let memory = ram.sub(ring(index), RING_STRIDE).expect("inside");
            DriverQueue::<N>::new(Gpa(ring(index)), memory, SIZE, features).expect("a queue")
        };
        let (mut receive, transmit) = (queue(0), queue(1));
        (0..2).for_each(|token| assert!(receive.give(Gpa(RECEIVED), 100, token)));
        receive.publish();
        [&receive, &transmit].iter().zip(0..).for_each(|(queue, index)| setup.set_queue(index, queue).expect("taken"));
        setup.start();
        let [mut b, mut c] = [1, 2].map(|vm| world.start(vm, F::VERSION_1, 1));
        b.send(&frame(mac(0), mac(1), 1));
        b.send(&[&frame(mac(0), mac(1), 1)[..], &[0; 40]].concat());
        let (broken, too_long) = if owes { (1, 0) } else { (0, 1) };
        assert_eq!(world.counters(0), Counters { forwarded: 1, broken, too_long, ..Counters::default() });
        others_go_on(&mut b, &mut c);
    }
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

/// Starts VM `vm` with queues of 256 entries, each of which names the chain that begins at its first descriptor: where
/// these queues are.
fn long_queues(world: &World, vm: u32, features: F) -> Vec<QueueAddresses> {
    let count = if features.contains(F::CTRL_VQ) { 3 } else { 2 };
    long_pairs(world, vm, Wanted { features, pairs: 1 }, count)
}

/// The same for the first `count` queues of a device with these pairs.
fn long_pairs(world: &World, vm: u32, wanted: Wanted, count: u16) -> Vec<QueueAddresses> {
    let (mut device, ram) = (Device(world, vm), world.rams[vm as usize]);
    let mut setup = Setup::new(&mut device, wanted).expect("a device");
    let agreed = setup.agreed().features;
    let mut all = Vec::new();
    for index in 0..count {
        let memory = ram.sub(ring(index), RING_STRIDE).expect("inside");
        let queue = DriverQueue::<LONG>::new(Gpa(ring(index)), memory, LONG as u16, agreed).expect("a queue");
        setup.set_queue(index, &queue).expect("taken");
        all.push(queue.addresses());
    }
    setup.start();
    all
}

const LONG: usize = 256;

/// Shows the device `count` times the chain of `descs`, in a split queue.
fn show(ram: PeerSlice<'_>, at: QueueAddresses, descs: &[Desc], count: u16) {
    (0..).zip(descs).for_each(|(index, &desc)| ram.write(at.desc.0 + 16 * index, desc).expect("inside"));
    ram.write(at.driver.0 + 2, count).expect("inside");
}

#[test]
fn a_service_takes_so_many_frames_and_no_more() {
    let world = World::new(&["lan = [\"b\"]", ""]);
    let (a, ram) = (long_queues(&world, 0, F::VERSION_1), world.rams[0]);
    ram.copy_from_slice(SENT, &[&[0; 12][..], &frame(mac(1), mac(0), 1)].concat()).expect("inside");
    show(ram, a[1], &[Desc { addr: Gpa(SENT), len: 72, flags: 0, next: 0 }], 200);
    for (more, taken) in [(true, 64), (true, 128), (true, 192), (false, 200), (false, 200)] {
        assert_eq!((world.serve(0).more, world.counters(0).taken), (more, taken));
    }
}

/// Two transmit queues that always have frames.
#[test]
fn each_pair_is_served_first_in_its_turn() {
    let world = World::new(&["lan = [\"b\"]", "peers = [\"a\"]"]);
    let wanted = Wanted { features: F::CTRL_VQ | F::MQ, pairs: 2 };
    let (a, ram) = (long_pairs(&world, 0, wanted, 4), world.rams[0]);
    assert_eq!(world.network.borrow_mut().command(0, &[4, 0, 2, 0]).0, 0, "two pairs");
    ram.copy_from_slice(SENT, &[&[0; 12][..], &frame(mac(1), mac(0), 1)].concat()).expect("inside");
    for at in [a[1], a[3]] {
        show(ram, at, &[Desc { addr: Gpa(SENT), len: 72, flags: 0, next: 0 }], 200);
    }
    for expected in [[64, 0], [64, 64], [128, 64], [128, 128], [192, 128], [192, 192], [200, 200]] {
        assert!(world.serve(0).more || expected == [200, 200]);
        assert_eq!([a[1], a[3]].map(|at| ram.read::<u16>(at.device.0 + 2)), expected.map(Ok));
    }
}

/// Bytes count where they were read and where they were written; a frame that is too long counts as the longest.
#[test]
fn a_service_copies_so_many_bytes_and_no_more() {
    for (destination, len, first) in [(NOBODY, 40_000, 2), (mac(1), 1514, 22), (mac(1), 0x2_0000, 2)] {
        let world = World::new(&["lan = [\"b\"]", ""]);
        let (a, ram, _b) = (long_queues(&world, 0, F::VERSION_1), world.rams[0], world.start(1, F::VERSION_1, 1));
        ram.copy_from_slice(SENT, &[&[0; 12][..], &frame(destination, mac(0), 1)].concat()).expect("inside");
        show(ram, a[1], &[Desc { addr: Gpa(SENT), len: 12 + len, flags: 0, next: 0 }], 200);
        assert_eq!((world.serve(0).more, world.counters(0).taken), (true, first), "{len}");
    }
}

#[test]
fn a_service_carries_out_so_many_commands_and_no_more() {
    let world = World::new(&[""]);
    let (a, ram) = (long_queues(&world, 0, F::CTRL_VQ | F::CTRL_RX), world.rams[0]);
    let answer = SENT + 0x100;
    ram.copy_from_slice(SENT, &[0, 0, 1]).expect("inside");
    let command =
        [(SENT, 3, 1), (answer, 1, 2)].map(|(addr, len, flags)| Desc { addr: Gpa(addr), len, flags, next: 1 });
    show(ram, a[2], &command, 40);
    for (more, done) in [(true, 16u16), (true, 32), (false, 40), (false, 40)] {
        ram.write(answer, 0xeeu8).expect("inside");
        assert_eq!((world.serve(0).more, ram.read(a[2].device.0 + 2)), (more, Ok(done)));
    }
}

/// Two full tables of addresses are a command, and what is longer than any is refused.
#[test]
fn a_command_has_room_for_two_full_tables_and_no_more() {
    for (addresses, len, answer) in [(64u8, 778, 0u8), (64, 1025, 1), (84, 1018, 0), (85, 1030, 1)] {
        let world = World::new(&[""]);
        let (a, ram) = (long_queues(&world, 0, F::CTRL_VQ | F::CTRL_RX), world.rams[0]);
        let mut command = vec![1, 0];
        for _ in 0..2 {
            command.extend([addresses, 0, 0, 0]);
            command.extend((0..addresses).flat_map(|number| [2, 0, 0, 0, 0, number]));
        }
        command.resize(len, 0);
        ram.copy_from_slice(SENT, &command).expect("inside");
        let chain = [(SENT, len as u32, 1), (SENT + 0x1000, 1, 2)];
        show(ram, a[2], &chain.map(|(addr, len, flags)| Desc { addr: Gpa(addr), len, flags, next: 1 }), 1);
        ram.write(SENT + 0x1000, 0xeeu8).expect("inside");
        world.serve(0);
        assert_eq!(ram.read(SENT + 0x1000), Ok(answer), "{addresses} addresses in {len} bytes");
    }
}

/// Has no room for what a frame brings.
struct Full;

impl Tap for Full {
    fn frame(&mut self, _: u32, _: PeerSlice<'_>) {
        panic!("a frame was taken");
    }

    fn has_room(&self) -> bool {
        false
    }
}

#[test]
fn no_frame_is_taken_that_the_tap_has_no_room_for() {
    let world = World::new(&["lan = [\"b\"]", ""]);
    let [mut a, mut b] = [0, 1].map(|vm| world.start(vm, F::VERSION_1, 1));
    a.put(0, &Hdr::default(), &frame(mac(1), mac(0), 1));
    a.transmit[0].publish();
    let served = world.switch.borrow_mut().serve(&mut world.network.borrow_mut(), 0, 0, &mut Full, &mut ());
    assert_eq!((served.more, world.counters(0).taken), (true, 0));
    assert_eq!((world.serve(0).more, b.received().len()), (false, 1));
}

#[test]
fn a_notification_for_nothing_or_of_no_queue_does_no_harm() {
    let world = World::new(&ALL);
    let mut device = Device(&world, 0);
    for index in [0, 1, 2, 3, 31, 32, 33, u32::MAX] {
        device.write(reg::QUEUE_NOTIFY, index);
    }
    let a = world.start(0, F::CTRL_VQ, 1);
    for index in [0, 1, 2, 3, 31, 32, 33, 34, 64, 65, u32::MAX] {
        a.device().write(reg::QUEUE_NOTIFY, index);
        // The host serves what is transmitted and what is asked; buffers to be filled are no news.
        let event = world.network.borrow_mut().write(0, reg::QUEUE_NOTIFY, index);
        assert_eq!(event, [1, 2].contains(&index).then_some(Event::Notified), "{index}");
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
            let words = if round % 2 == 0 { 80 } else { 2048 };
            a.ram().write(RINGS + queue * RING_STRIDE + 8 * (word % words), value).expect("inside");
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
