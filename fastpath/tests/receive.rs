//! The buffers that a receiver's port gives its device, and the features that both agree on.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use sluice::{
    BufferLen, Gate, HEADROOM, MAX_BURST, Mempool, PeerIdx, PeerPort, RX_SIZE, Receive, RingFormat, RxError, Transmit,
    TxError, VirtioNet, VirtioNetError,
};
use sluice_abi::directory::PeerState;
use sluice_abi::net::F;
use sluice_abi::virtq::{UsedElem, avail, used};
use sluice_driver::{DeviceFault, StartError};
use world::{Receiver, World, bytes, frame, push};

const LEN: u16 = 60;

/// Sends frames until no more is taken. Returns the number of frames that were.
fn fill(gate: &Gate, pool: &'static Mempool<'static>) -> usize {
    let (mut port, mut burst, mut sent) = (PeerPort::new(gate, PeerIdx(0)), pool.burst(), 0);
    loop {
        (burst.len()..MAX_BURST / 2).for_each(|number| push(&mut burst, number, LEN));
        match port.tx_burst(&mut burst, MAX_BURST) {
            Ok(0) => return sent,
            more => sent += more.expect("a lawful ring"),
        }
    }
}

/// Polls once, with nothing there, and then receives as many frames as the ring has entries.
#[track_caller]
fn goes_on(gate: &Gate, pool: &'static Mempool<'static>, receiver: &mut Receiver) {
    let mut burst = receiver.pool.burst();
    assert_eq!(receiver.net.rx_burst(&mut burst, MAX_BURST), Ok(0));
    assert_eq!(fill(gate, pool), RX_SIZE);
    assert_eq!(receiver.net.rx_burst(&mut burst, MAX_BURST), Ok(RX_SIZE));
    assert!(burst.frames().all(|frame| frame.len() == LEN));
    burst.clear();
    assert_eq!(receiver.net.rx_burst(&mut burst, MAX_BURST), Ok(0));
}

#[test]
fn a_queue_that_ran_dry_while_the_pool_was_empty_is_filled_again() {
    for format in RingFormat::ALL {
        let world = World::new(1500);
        let (gate, pool) = world.sender(MAX_BURST);
        let mut receiver = world.receiver(0, format, RX_SIZE);
        for _ in 0..3 {
            let mut held = receiver.pool.burst();
            assert_eq!(fill(&gate, pool), RX_SIZE);
            assert_eq!(receiver.net.rx_burst(&mut held, MAX_BURST), Ok(RX_SIZE));
            // The VNF keeps all buffers for a while.
            assert_eq!((receiver.pool.available(), fill(&gate, pool)), (0, 0));
            let missing = receiver.net.polls_without_buffer();
            assert_eq!(receiver.net.rx_burst(&mut receiver.pool.burst(), MAX_BURST), Ok(0));
            assert_eq!(receiver.net.polls_without_buffer(), missing + 1);
            drop(held);
            goes_on(&gate, pool, &mut receiver);
        }
    }
}

#[test]
fn buffers_that_a_burst_has_to_spare_are_given_to_the_device() {
    for format in RingFormat::ALL {
        let world = World::new(1500);
        let (gate, pool) = world.sender(MAX_BURST);
        let mut receiver = world.receiver(0, format, RX_SIZE);
        let mut burst = receiver.pool.burst();
        for _ in 0..5 {
            assert_eq!(fill(&gate, pool), RX_SIZE, "{format:?}");
            assert_eq!(receiver.net.rx_burst(&mut burst, MAX_BURST), Ok(RX_SIZE));
            burst.clear();
            assert_eq!((receiver.net.rx_burst(&mut burst, MAX_BURST), receiver.pool.available()), (Ok(0), 0));
        }
    }
}

#[test]
fn a_burst_that_is_full_or_of_another_pool_does_not_keep_the_device_from_its_buffers() {
    for (format, foreign) in RingFormat::ALL.into_iter().flat_map(|format| [(format, false), (format, true)]) {
        let world = World::new(1500);
        let (gate, pool) = world.sender(MAX_BURST);
        let mut receiver = world.receiver(0, format, 2 * RX_SIZE);
        let (mut held, mut full) = (receiver.pool.burst(), receiver.pool.burst());
        (0..RX_SIZE).for_each(|number| push(&mut full, number, LEN));
        assert_eq!((fill(&gate, pool), receiver.net.rx_burst(&mut held, MAX_BURST)), (RX_SIZE, Ok(RX_SIZE)));
        assert_eq!((receiver.pool.available(), fill(&gate, pool)), (0, 0));
        drop(held);
        let mut other = pool.burst();
        let received = receiver.net.rx_burst(if foreign { &mut other } else { &mut full }, MAX_BURST);
        assert_eq!(received, if foreign { Err(RxError::ForeignPool) } else { Ok(0) });
        assert_eq!((fill(&gate, pool), receiver.pool.available()), (RX_SIZE, 0));
    }
}

#[test]
fn a_device_that_broke_the_protocol_gets_no_more_buffers() {
    let world = World::new(1500);
    let (gate, pool) = world.sender(MAX_BURST);
    let mut receiver = world.receiver(0, RingFormat::Split, 2 * RX_SIZE);
    fill(&gate, pool);
    let mut burst = receiver.pool.burst();
    // Ten frames are right; the next is in a buffer that does not exist.
    let eleventh = world.queue(0).device.0 + used::RING + 10 * size_of::<UsedElem>() as u64;
    world.ram(0).write(eleventh, UsedElem { id: 5000, len: 72 }).expect("inside");
    let fault = Err(RxError::Device(DeviceFault::UsedId));
    // The queue keeps a buffer for each of the ten, without publishing it.
    let shown = || world.ram(0).read::<u16>(world.queue(0).driver.0 + avail::IDX);
    for expected in [Ok(10), fault, fault] {
        assert_eq!((receiver.net.rx_burst(&mut burst, MAX_BURST), receiver.pool.available()), (expected, RX_SIZE - 10));
        assert_eq!((receiver.net.fault(), shown()), (Some(DeviceFault::UsedId), Ok(RX_SIZE as u16)));
    }
}

#[test]
fn a_device_whose_mtu_the_buffers_do_not_hold_is_refused_and_any_other_gets_frames_of_its_mtu() {
    let most = (BufferLen::KiB2.bytes() - HEADROOM - 14) as u16;
    for (format, mtu) in RingFormat::ALL.into_iter().flat_map(|format| [(format, 1500), (format, most)]) {
        let world = World::new(mtu);
        let (gate, pool) = world.sender(MAX_BURST);
        let mut receiver = world.receiver(0, format, RX_SIZE);
        assert_eq!((receiver.net.mtu(), receiver.net.features().contains(F::MTU)), (mtu, true));
        assert_eq!(gate.peer(PeerIdx(0)).map(|peer| peer.mtu), Ok(mtu), "what the sender is told");
        longest_arrives(&gate, pool, &mut receiver, mtu + 14);
    }
    for device in [most + 1, 9000, 65_517] {
        let world = World::new(device);
        let pool = world.pool(0, BufferLen::KiB2, RX_SIZE);
        let (queue, _) = world.packets(0).split_at(VirtioNet::QUEUE_LEN).expect("inside");
        let error = VirtioNet::start(world.device(0), queue, pool, RingFormat::default()).err();
        assert_eq!(error, Some(VirtioNetError::Start(StartError::Mtu { device, most })));
        assert_eq!(pool.available(), RX_SIZE);
    }
}

#[test]
fn a_pool_with_fewer_buffers_than_the_queue_has_entries_is_refused() {
    let world = World::new(1500);
    let pool = world.pool(0, BufferLen::KiB2, RX_SIZE - 1);
    let (queue, _) = world.packets(0).split_at(VirtioNet::QUEUE_LEN).expect("inside");
    let error = VirtioNet::start(world.device(0), queue, pool, RingFormat::default()).err();
    assert_eq!(error, Some(VirtioNetError::Pool { free: RX_SIZE - 1, entries: RX_SIZE as u16 }));
}

/// Of frames of `longest` bytes and one more, the first arrive and the others are refused, alone.
#[track_caller]
fn longest_arrives(gate: &Gate, pool: &'static Mempool<'static>, receiver: &mut Receiver, longest: u16) {
    let (mut port, mut burst) = (PeerPort::new(gate, PeerIdx(0)), pool.burst());
    let fit = longest < pool.longest_frame();
    let too_long = TxError::TooLong { peer: PeerIdx(0), index: 0 };
    let lens = [64, longest, longest + u16::from(fit), 60];
    lens.iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
    let refused = usize::from(fit);
    assert_eq!(port.tx_burst(&mut burst, MAX_BURST), if fit { Err(too_long) } else { Ok(4) });
    let stats = port.tx_stats();
    assert_eq!((burst.len(), stats.packets, stats.too_long), (refused, 4 - refused as u64, refused as u64));
    assert_eq!(gate.peer_state(PeerIdx(0)), PeerState::Ready);
    let mut arrived = receiver.pool.burst();
    assert!(receiver.net.rx_burst(&mut arrived, MAX_BURST).is_ok());
    let numbers = (0..4).filter(|&number| !(fit && number == 2));
    assert!(arrived.frames().map(bytes).eq(numbers.map(|number| frame(number, lens[number]))));
    assert_eq!(receiver.net.rx_stats().bad_frame, 0);
}

/// A call receives at most as many frames as it may; the others come with the next call.
#[test]
fn no_more_is_received_than_the_caller_says() {
    for format in RingFormat::ALL {
        let world = World::new(1500);
        let (gate, pool) = world.sender(MAX_BURST);
        let mut receiver = world.receiver(0, format, RX_SIZE);
        assert_eq!(fill(&gate, pool), RX_SIZE);
        let mut burst = receiver.pool.burst();
        for (most, received) in [(0, 0), (1, 1), (32, 32), (usize::MAX, RX_SIZE - 33), (32, 0)] {
            assert_eq!(receiver.net.rx_burst(&mut burst, most), Ok(received));
        }
        assert_eq!((burst.len(), receiver.net.rx_stats().packets), (RX_SIZE, RX_SIZE as u64));
    }
}

#[test]
fn frames_are_received_into_a_burst_of_the_ports_own_pool_only() {
    let (gate, pool, mut receivers) = World::all(MAX_BURST, RingFormat::default());
    let mut burst = pool.burst();
    push(&mut burst, 0, 64);
    assert_eq!(PeerPort::new(&gate, PeerIdx(0)).tx_burst(&mut burst, MAX_BURST), Ok(1));
    let mut others = receivers[1].pool.burst();
    for foreign in [&mut pool.burst(), &mut others] {
        let received = receivers[0].net.rx_burst(foreign, MAX_BURST);
        assert_eq!((received, foreign.len()), (Err(RxError::ForeignPool), 0));
    }
    assert_eq!(receivers[0].take(), [frame(0, 64)], "it is still there");
}

/// A peer writes into the ring by itself: a buffer shorter than a header is not a frame.
#[test]
fn a_frame_that_is_dropped_gives_its_buffer_back() {
    let world = World::new(1500);
    let Receiver { mut net, pool } = world.receiver(0, RingFormat::Split, 2 * RX_SIZE);
    let (ram, queue) = (world.ram(0), world.queue(0));
    let before = pool.available();
    for number in 0..2 * RX_SIZE as u16 {
        let entry = u64::from(number) % RX_SIZE as u64;
        let head: u16 = ram.read(queue.driver.0 + 4 + 2 * entry).expect("inside");
        ram.write(queue.device.0 + 4 + 8 * entry, UsedElem { id: head.into(), len: 5 }).expect("inside");
        ram.write(queue.device.0 + 2, number + 1).expect("inside");
        assert_eq!((net.rx_burst(&mut pool.burst(), MAX_BURST), net.fault()), (Ok(0), None));
    }
    assert_eq!((net.rx_stats().bad_frame, net.polls_without_buffer()), (2 * RX_SIZE as u64, 0));
    assert_eq!(pool.available(), before);
}
