//! The state of a peer whose rings broke the protocol, and its end.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use sluice::{
    Clause, Gate, MAX_BURST, Mempool, PeerIdx, PeerPort, RX_SIZE, Receive, RingFormat, Scatter, Transmit, TxError,
};
use sluice_abi::directory::PeerState::{self, Absent, Quarantined, Ready, Revoked};
use sluice_abi::mmio::{Status, reg};
use sluice_driver::Registers;
use world::{Receiver, World, bytes, frame, push};

const LEN: u16 = 60;

fn states(gate: &Gate) -> [PeerState; 2] {
    let states = [0, 1].map(|peer| gate.peer_state(PeerIdx(peer)));
    for (place, state) in (0..).zip(states) {
        assert_eq!(gate.peer(PeerIdx(place)).map(|peer| peer.state), Ok(state as u32), "the entry says the same");
    }
    states
}

/// Asserts that a frame to the peer at `place` arrives there.
#[track_caller]
fn arrives(gate: &Gate, pool: &Mempool<'_>, place: u8, receiver: &mut Receiver) {
    let mut burst = pool.burst();
    push(&mut burst, 7, LEN);
    assert_eq!(PeerPort::new(gate, PeerIdx(place)).tx_burst(&mut burst, MAX_BURST), Ok(1));
    let mut arrived = receiver.pool.burst();
    assert!(receiver.net.rx_burst(&mut arrived, MAX_BURST).is_ok());
    assert!(arrived.frames().map(bytes).eq([frame(7, LEN)]));
}

#[test]
fn a_peer_in_quarantine_says_so_at_once_and_until_its_driver_starts_anew() {
    for format in RingFormat::ALL {
        let world = World::new(1500);
        let (gate, pool) = world.sender(MAX_BURST);
        assert_eq!(states(&gate), [Absent; 2]);
        let mut other = world.receiver(1, format, RX_SIZE);
        for _ in 0..3 {
            let mut receiver = world.receiver(0, format, RX_SIZE);
            assert_eq!(states(&gate), [Ready; 2]);
            arrives(&gate, pool, 0, &mut receiver);
            world.spoil(0);
            let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
            push(&mut burst, 0, LEN);
            let fault = TxError::PeerFault { peer: PeerIdx(0), clause: Some(Clause::Region), index: 0 };
            assert_eq!((port.tx_burst(&mut burst, MAX_BURST), states(&gate)), (Err(fault), [Quarantined, Ready]));
            let not_ready = TxError::PeerNotReady { peer: PeerIdx(0), index: 0 };
            assert_eq!((port.tx_burst(&mut burst, MAX_BURST), states(&gate)), (Err(not_ready), [Quarantined, Ready]));
            arrives(&gate, pool, 1, &mut other);
        }
        // Another peer's start does not end the quarantine.
        other = world.receiver(1, format, RX_SIZE);
        assert_eq!(states(&gate), [Quarantined, Ready]);
        arrives(&gate, pool, 1, &mut other);
        world.device(0).write(reg::STATUS, 0);
        assert_eq!(states(&gate), [Absent, Ready]);
    }
}

#[test]
fn of_several_peers_that_one_call_found_at_fault_each_says_so() {
    for (format, too_long) in RingFormat::ALL.into_iter().flat_map(|format| [(format, false), (format, true)]) {
        let world = World::new(1500);
        let (gate, pool) = world.sender(MAX_BURST);
        let mut receivers = [0, 1].map(|place| world.receiver(place, format, RX_SIZE));
        assert_eq!(states(&gate), [Ready; 2]);
        [0, 1].into_iter().for_each(|place| world.spoil(place));
        let mut burst = pool.burst();
        for number in 0..4 {
            push(&mut burst, number, if too_long && number == 0 { 1515 } else { LEN });
            burst.set_peer(number, PeerIdx(number as u8 % 2)).expect("there");
        }
        assert!(Scatter::new(&gate).tx_burst(&mut burst, MAX_BURST).is_err());
        assert_eq!((states(&gate), burst.len()), ([Quarantined; 2], 4));
        receivers[1] = world.receiver(1, format, RX_SIZE);
        assert_eq!(states(&gate), [Quarantined, Ready]);
        arrives(&gate, pool, 1, &mut receivers[1]);
    }
}

#[test]
fn a_peer_whose_rings_are_none_says_so_before_anything_is_sent() {
    let world = World::new(1500);
    let (gate, pool) = world.sender(MAX_BURST);
    for _ in 0..2 {
        // The areas are outside its RAM.
        let mut device = world.device(0);
        let ok = Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK;
        for (register, value) in [
            (reg::STATUS, 0),
            (reg::DRIVER_FEATURES_SEL, 1),
            (reg::DRIVER_FEATURES, 1),
            (reg::STATUS, ok.bits()),
            (reg::QUEUE_SIZE, 8),
            (reg::QUEUE_DESC_HIGH, 1),
            (reg::QUEUE_READY, 1),
            (reg::STATUS, (ok | Status::DRIVER_OK).bits()),
        ] {
            device.write(register, value);
        }
        assert_eq!(world.directory().peers[0].state, Ready as u32, "this host does not look at rings");
        assert_eq!(states(&gate), [Quarantined, Absent]);
        let mut receiver = world.receiver(0, RingFormat::default(), RX_SIZE);
        assert_eq!(states(&gate), [Ready, Absent]);
        arrives(&gate, pool, 0, &mut receiver);
    }
    world.gone(0);
    assert_eq!(states(&gate), [Revoked, Absent]);
}

#[test]
fn a_peer_that_refuses_what_is_wrong_or_has_no_room_stays_ready() {
    let world = World::new(1500);
    let (gate, pool) = world.sender(2 * MAX_BURST);
    let mut receiver = world.receiver(0, RingFormat::default(), 2 * RX_SIZE);
    let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
    push(&mut burst, 0, 1515);
    assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Err(TxError::TooLong { peer: PeerIdx(0), index: 0 }));
    assert_eq!(states(&gate), [Ready, Absent]);
    burst.clear();
    for expected in [Ok(RX_SIZE), Ok(0)] {
        (burst.len()..RX_SIZE).for_each(|number| push(&mut burst, number, LEN));
        assert_eq!((port.tx_burst(&mut burst, MAX_BURST), states(&gate)), (expected, [Ready, Absent]));
    }
    assert_eq!(receiver.net.rx_burst(&mut receiver.pool.burst(), MAX_BURST), Ok(RX_SIZE));
    arrives(&gate, pool, 0, &mut receiver);
}
