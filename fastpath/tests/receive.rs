//! What a receiver's port gives its device, and what it agrees on with it.
#![allow(unsafe_code, reason = "stands in for the host, which makes the memory")]

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use sluice::{Gate, MAX_BURST, Mempool, PeerIdx, PeerPort, Port, RX_SIZE, RingFormat, TxError};
use sluice_abi::directory::PeerState;
use sluice_abi::net::F;
use sluice_abi::virtq::{UsedElem, used};
use sluice_driver::DeviceFault;
use world::{Receiver, World, bytes, frame, push};

const LEN: u16 = 60;

/// Sends frames until no more is taken: how many were.
fn fill(gate: &Gate, pool: &'static Mempool<'static>) -> usize {
    let (mut port, mut burst, mut sent) = (PeerPort::new(gate, PeerIdx(0)), pool.burst(), 0);
    loop {
        (burst.len()..MAX_BURST / 2).for_each(|number| push(&mut burst, number, LEN));
        match port.tx_burst(&mut burst) {
            Ok(0) => return sent,
            more => sent += more.expect("a lawful ring"),
        }
    }
}

/// Polls once, with nothing there, and then receives as many frames as the ring has entries.
#[track_caller]
fn goes_on(gate: &Gate, pool: &'static Mempool<'static>, receiver: &mut Receiver) {
    let mut burst = receiver.pool.burst();
    assert_eq!(receiver.net.rx_burst(&mut burst), 0);
    assert_eq!(fill(gate, pool), RX_SIZE);
    assert_eq!(receiver.net.rx_burst(&mut burst), RX_SIZE);
    assert!(burst.frames().all(|frame| frame.len() == u64::from(LEN)));
    burst.clear();
    assert_eq!(receiver.net.rx_burst(&mut burst), 0);
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
            assert_eq!(receiver.net.rx_burst(&mut held), RX_SIZE);
            // The VNF keeps all buffers that there are, for a while.
            assert_eq!((receiver.pool.available(), fill(&gate, pool)), (0, 0));
            let missing = receiver.net.stats().rx_no_mbuf;
            assert_eq!(receiver.net.rx_burst(&mut receiver.pool.burst()), 0);
            assert_eq!(receiver.net.stats().rx_no_mbuf, missing + 1);
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
            assert_eq!(receiver.net.rx_burst(&mut burst), RX_SIZE);
            burst.clear();
            assert_eq!((receiver.net.rx_burst(&mut burst), receiver.pool.available()), (0, 0));
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
        assert_eq!((fill(&gate, pool), receiver.net.rx_burst(&mut held)), (RX_SIZE, RX_SIZE));
        assert_eq!((receiver.pool.available(), fill(&gate, pool)), (0, 0));
        drop(held);
        let mut other = pool.burst();
        assert_eq!(receiver.net.rx_burst(if foreign { &mut other } else { &mut full }), 0);
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
    // Ten frames are as they should be; the next is in a buffer that there is not.
    let eleventh = world.queue(0).device.0 + used::RING + 10 * size_of::<UsedElem>() as u64;
    world.ram(0).write(eleventh, UsedElem { id: 5000, len: 72 }).expect("inside");
    for expected in [10, 0, 0] {
        assert_eq!((receiver.net.rx_burst(&mut burst), receiver.pool.available()), (expected, RX_SIZE));
        assert_eq!(receiver.net.fault(), Some(DeviceFault::UsedId));
    }
}

#[test]
fn an_mtu_that_the_buffers_do_not_hold_is_not_agreed_on() {
    for (mtu, agreed) in [(1500, 1500), (1970, 1970), (1971, 1500), (9000, 1500), (65_517, 1500)] {
        for format in RingFormat::ALL {
            let world = World::new(mtu);
            let (gate, pool) = world.sender(MAX_BURST);
            let mut receiver = world.receiver(0, format, RX_SIZE);
            assert_eq!((receiver.net.mtu(), receiver.net.features().contains(F::MTU)), (agreed, mtu == agreed));
            assert_eq!(gate.peer(PeerIdx(0)).map(|peer| peer.mtu), Ok(agreed), "what the sender is told");
            longest_arrives(&gate, pool, &mut receiver, agreed + 14);
        }
    }
}

/// Of frames of `longest` bytes and one more, the first arrive and the others are refused, alone.
#[track_caller]
fn longest_arrives(gate: &Gate, pool: &'static Mempool<'static>, receiver: &mut Receiver, longest: u16) {
    let (mut port, mut burst) = (PeerPort::new(gate, PeerIdx(0)), pool.burst());
    let fit = longest < Mempool::LONGEST as u16;
    let lens = [64, longest, longest + u16::from(fit), 60];
    lens.iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
    let refused = usize::from(fit);
    assert_eq!(
        port.tx_burst(&mut burst),
        if fit { Err(TxError::TooLong { peer: PeerIdx(0), index: 0 }) } else { Ok(4) }
    );
    let stats = port.stats();
    assert_eq!((burst.len(), stats.tx_packets, stats.tx_too_long), (refused, 4 - refused as u64, refused as u64));
    assert_eq!(gate.peer_state(PeerIdx(0)), PeerState::Ready);
    let mut arrived = receiver.pool.burst();
    receiver.net.rx_burst(&mut arrived);
    let numbers = (0..4).filter(|&number| !(fit && number == 2));
    assert!(arrived.frames().map(bytes).eq(numbers.map(|number| frame(number, lens[number]))));
    assert_eq!(receiver.net.stats().rx_errors, 0);
}

#[test]
fn there_is_no_empty_frame() {
    let (_, pool) = World::new(1500).sender(4);
    let mut burst = pool.burst();
    assert!(burst.push(0).is_none());
    assert_eq!((burst.len(), pool.available()), (0, 4));
    push(&mut burst, 0, 1);
    assert!(burst.push(0).is_none() && burst.len() == 1);
}
