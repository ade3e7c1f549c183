//! The host changes the directory while its VM sends.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use sluice::{MAX_BURST, PeerError, PeerIdx, PeerPort, RX_SIZE, RingFormat, Scatter, Transmit, TxError};
use sluice_abi::directory::{PeerState, word};
use sluice_memory::{SharedWords, Table};
use std::cell::{Cell, RefCell};
use world::{World, frame, push};

/// A writer that lets the VM act after each of its stores.
struct Between<F>(Table<'static, u64>, F);

impl<F: Fn()> SharedWords for Between<F> {
    fn load(&self, index: usize) -> u64 {
        self.0.load(index)
    }

    fn store(&self, index: usize, word: u64) {
        self.0.store(index, word);
        (self.1)();
    }

    fn acquire() {
        Table::<u64>::acquire();
    }

    fn release() {
        Table::<u64>::release();
    }

    fn full() {
        Table::<u64>::full();
    }
}

/// Between any two writes of the host a call of the VM sends nothing. After the last, the VM knows all: a restart and a
/// revocation.
#[test]
fn a_call_between_two_writes_of_the_host_sends_nothing_and_misses_nothing() {
    let world = World::new(1500);
    let (gate, pool) = world.sender(MAX_BURST);
    let not_ready = TxError::PeerNotReady { peer: PeerIdx(0), index: 0 };
    for number in 0..20 {
        let revoked = number % 4 == 3;
        world.silent.set(true);
        let mut receiver = (!revoked).then(|| world.receiver(0, RingFormat::default(), 2 * RX_SIZE));
        if revoked {
            world.gone(0);
        }
        let (calls, port) = (Cell::new(0), RefCell::new((PeerPort::new(&gate, PeerIdx(0)), pool.burst())));
        push(&mut port.borrow_mut().1, number, 64);
        let call = || {
            let (port, burst) = &mut *port.borrow_mut();
            port.tx_burst(burst, MAX_BURST)
        };
        let between = || {
            calls.set(calls.get() + 1);
            if world.page().load(word::SEQUENCE) % 2 == 1 {
                assert_eq!(call(), Err(not_ready));
                assert_eq!((gate.peer(PeerIdx(0)), gate.find("b")), (Err(PeerError::Busy), Err(PeerError::Busy)));
            }
        };
        world.publish_through(&Between(world.page(), between));
        assert!(calls.get() >= 3, "{} writes", calls.get());
        if let Some(receiver) = &mut receiver {
            assert_eq!(call(), Ok(1));
            assert_eq!((gate.peer_state(PeerIdx(0)), gate.find("b")), (PeerState::Ready, Ok(PeerIdx(0))));
            assert_eq!(receiver.take(), [frame(number, 64)], "the ring that began anew");
        } else {
            assert_eq!(call(), Err(not_ready));
            assert_eq!(gate.peer_state(PeerIdx(0)), PeerState::Revoked);
            world.back(0);
        }
    }
}

#[test]
fn a_peer_that_was_taken_away_gets_nothing_and_the_others_go_on_where_they_were() {
    let world = World::new(1500);
    let mut other = world.receiver(1, RingFormat::default(), 2 * RX_SIZE);
    let (gate, pool) = world.sender(MAX_BURST);
    let mut burst = pool.burst();
    for number in 0..6 {
        // Each change is of peer 0's entry alone, so peer 1's queue goes on.
        let mut receiver = (number % 2 == 1).then(|| world.receiver(0, RingFormat::default(), 2 * RX_SIZE));
        if receiver.is_none() {
            world.gone(0);
        }
        let mut port = Scatter::new(&gate);
        for peer in [1, 0, 1] {
            push(&mut burst, number, 64);
            burst.set_peer(burst.len() - 1, PeerIdx(peer)).expect("there");
        }
        let sent = port.tx_burst(&mut burst, MAX_BURST);
        if let Some(receiver) = &mut receiver {
            assert_eq!((sent, receiver.take()), (Ok(3), vec![frame(number, 64)]));
        } else {
            assert_eq!(sent, Err(TxError::PeerNotReady { peer: PeerIdx(0), index: 0 }));
            assert_eq!((burst.len(), port.tx_stats().packets, port.tx_stats().bytes), (1, 2, 128));
            let of = [0, 1, 2].map(|peer| port.stats_of(PeerIdx(peer)));
            assert_eq!(of.map(|stats| (stats.packets, stats.not_ready, stats.full)), [(0, 1, 0), (2, 0, 0), (0, 0, 0)]);
            assert!(burst.remove(0));
            world.back(0);
        }
        assert_eq!(other.take(), [frame(number, 64), frame(number, 64)]);
    }
}
