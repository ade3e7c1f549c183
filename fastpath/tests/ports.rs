//! The whole course of a frame, in one process: burst, port, gate `Direct`, ring, port, burst.

#[allow(dead_code, reason = "another test needs the rest")]
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use sluice::{MAX_BURST, PeerError, PeerIdx, PeerPort, RX_SIZE, Receive, RingFormat, Scatter, Transmit, TxError};
use sluice_abi::directory::{MAX_PEERS, PeerState};
use world::{RECEIVERS, World, frame, push};

#[test]
fn frames_arrive_as_they_were_sent() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = World::all(MAX_BURST, format);
        let mut port = PeerPort::new(&gate, PeerIdx(0));
        let mut burst = pool.burst();
        let lens = [1, 14, 59, 60, 63, 64, 65, 127, 128, 1499, 1514];
        lens.iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(lens.len()));
        let expected: Vec<_> = lens.iter().enumerate().map(|(number, &len)| frame(number, len)).collect();
        assert_eq!((receivers[0].take(), receivers[1].take().len(), burst.len()), (expected, 0, 0));
        let sum = lens.iter().map(|&len| u64::from(len)).sum();
        let stats = (port.tx_stats(), receivers[0].net.rx_stats());
        assert_eq!((stats.0.packets, stats.0.bytes, stats.0.full), (lens.len() as u64, sum, 0));
        assert_eq!((stats.1.packets, stats.1.bytes, stats.1.bad_frame), (lens.len() as u64, sum, 0));
    }
}

#[test]
fn what_a_full_ring_refuses_stays_in_order() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = World::all(MAX_BURST, format);
        let mut port = PeerPort::new(&gate, PeerIdx(0));
        let mut burst = pool.burst();
        let mut sent = 0;
        for number in 0..300 {
            push(&mut burst, number, 64);
            if burst.len() == 200 {
                sent += port.tx_burst(&mut burst, MAX_BURST).expect("no error");
            }
        }
        sent += port.tx_burst(&mut burst, MAX_BURST).expect("no error");
        let left = 300 - RX_SIZE;
        assert_eq!((sent, burst.len(), port.tx_stats().full), (RX_SIZE, left, left as u64));
        assert_eq!(burst.bytes(), 64 * (300 - RX_SIZE as u64));
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(0));
        let mut arrived = receivers[0].take();
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(300 - RX_SIZE));
        arrived.extend(receivers[0].take());
        assert_eq!(arrived, (0..300).map(|number| frame(number, 64)).collect::<Vec<_>>());
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_alone() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = World::all(MAX_BURST, format);
        let mut port = PeerPort::new(&gate, PeerIdx(0));
        let mut burst = pool.burst();
        [64, 64, 1519, 64].iter().enumerate().for_each(|(number, &len)| push(&mut burst, number, len));
        for count in 1..4 {
            assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Err(TxError::TooLong { peer: PeerIdx(0), index: 0 }));
            let stats = port.tx_stats();
            assert_eq!((burst.len(), stats.packets, stats.full, stats.too_long), (1, 3, 0, count));
        }
        assert!(burst.remove(0));
        push(&mut burst, 4, 64);
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(1));
        assert_eq!(receivers[0].take(), [0, 1, 3, 4].map(|number| frame(number, 64)));
    }
}

#[test]
fn a_scattered_burst_reaches_each_peer_in_order() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = World::all(MAX_BURST, format);
        let mut burst = pool.burst();
        for number in 0..9 {
            push(&mut burst, number, 100);
            burst.set_peer(number, PeerIdx((number % 3 == 0).into())).expect("there");
        }
        assert_eq!(Scatter::new(&gate).tx_burst(&mut burst, MAX_BURST), Ok(9));
        assert_eq!(receivers[1].take(), [0, 3, 6].map(|number| frame(number, 100)));
        assert_eq!(receivers[0].take(), [1, 2, 4, 5, 7, 8].map(|number| frame(number, 100)));
        // A port to one peer ignores the names of peers in frames.
        push(&mut burst, 0, 64);
        burst.set_peer(0, PeerIdx(1)).expect("there");
        assert_eq!(PeerPort::new(&gate, PeerIdx(0)).tx_burst(&mut burst, MAX_BURST), Ok(1));
        assert_eq!((receivers[0].take().len(), receivers[1].take().len()), (1, 0));
        push(&mut burst, 0, 64);
        assert_eq!(
            PeerPort::new(&gate, PeerIdx(7)).tx_burst(&mut burst, MAX_BURST),
            Err(TxError::PeerNotReady { peer: PeerIdx(7), index: 0 })
        );
    }
}

/// An error names the frame that is wrong, wherever it is and whatever was delivered around it.
#[test]
fn only_the_frame_that_is_named_is_wrong() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = World::all(MAX_BURST, format);
        let (mut port, mut burst) = (Scatter::new(&gate), pool.burst());
        // Peer 1's ring is full, so frames to it stay, too.
        (0..RX_SIZE).for_each(|number| push(&mut burst, number, 64));
        assert_eq!(PeerPort::new(&gate, PeerIdx(1)).tx_burst(&mut burst, MAX_BURST), Ok(RX_SIZE));
        receivers[1].take().clear();
        (0..RX_SIZE).for_each(|number| push(&mut burst, number, 64));
        assert_eq!(PeerPort::new(&gate, PeerIdx(1)).tx_burst(&mut burst, MAX_BURST), Ok(RX_SIZE));
        for (number, (len, peer)) in
            [(64, 1), (65, 0), (66, 1), (67, 0), (1519, 0), (69, 0), (70, 1)].into_iter().enumerate()
        {
            push(&mut burst, number, len);
            burst.set_peer(number, PeerIdx(peer)).expect("there");
        }
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Err(TxError::TooLong { peer: PeerIdx(0), index: 2 }));
        assert_eq!((burst.len(), burst.bytes()), (4, 64 + 66 + 1519 + 70));
        assert_eq!((port.tx_stats().packets, port.tx_stats().bytes, port.tx_stats().too_long), (3, 65 + 67 + 69, 1));
        assert!(burst.remove(2) && !burst.remove(3) && !burst.remove(usize::MAX));
        assert_eq!((burst.len(), burst.bytes()), (3, 64 + 66 + 70));
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(0), "peer 1's ring is still full");
        assert_eq!(receivers[0].take(), [frame(1, 65), frame(3, 67), frame(5, 69)]);
        receivers[1].take().clear();
        assert_eq!(port.tx_burst(&mut burst, MAX_BURST), Ok(3));
        assert_eq!(receivers[1].take(), [frame(0, 64), frame(2, 66), frame(6, 70)]);
    }
}

#[test]
fn an_index_that_no_directory_has_is_nobody() {
    let (gate, pool, mut receivers) = World::all(MAX_BURST, RingFormat::default());
    for peer in [MAX_PEERS as u8, 0x80, 0x81, u8::MAX].map(PeerIdx) {
        let mut burst = pool.burst();
        push(&mut burst, 0, 64);
        burst.set_peer(0, peer).expect("there");
        let nobody = Err(TxError::PeerNotReady { peer, index: 0 });
        let mut scatter = Scatter::new(&gate);
        assert_eq!((scatter.tx_burst(&mut burst, MAX_BURST), scatter.stats_of(peer).not_ready), (nobody, 1));
        assert_eq!(PeerPort::new(&gate, peer).tx_burst(&mut burst, MAX_BURST), nobody);
        push(&mut burst, 1, 64);
        assert_eq!(PeerPort::new(&gate, peer).tx_burst(&mut burst, MAX_BURST), nobody);
        assert_eq!(gate.peer_state(peer), PeerState::Absent);
        assert_eq!((gate.peer(peer), gate.offloads(peer)), (Err(PeerError::Unknown), Err(PeerError::Unknown)));
        assert_eq!(PeerPort::new(&gate, PeerIdx(1)).tx_burst(&mut burst, MAX_BURST), Ok(2));
        assert_eq!((receivers[0].take().len(), receivers[1].take().len()), (0, 2));
    }
}

#[test]
fn a_peer_is_found_by_its_whole_name() {
    let (gate, _, _) = World::all(1, RingFormat::default());
    assert_eq!((gate.find("b"), gate.find("c")), (Ok(PeerIdx(0)), Ok(PeerIdx(1))));
    for nobody in ["", "a", "b\0", "\0", "bb", "b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
        assert_eq!(gate.find(nobody), Err(PeerError::Unknown), "{nobody:?}");
    }
    assert_eq!(gate.peer(PeerIdx(RECEIVERS as u8)), Err(PeerError::Unknown));
}

/// A call sends at most as many frames as it may, from the front; the others stay.
#[test]
fn no_more_is_sent_than_the_caller_says() {
    for format in RingFormat::ALL {
        let (gate, pool, mut receivers) = World::all(MAX_BURST, format);
        let mut burst = pool.burst();
        let (mut port, mut scatter) = (PeerPort::new(&gate, PeerIdx(0)), Scatter::new(&gate));
        (0..10).for_each(|number| push(&mut burst, number, 60 + number as u16));
        assert_eq!((port.tx_burst(&mut burst, 0), port.tx_burst(&mut burst, 3)), (Ok(0), Ok(3)));
        assert_eq!((scatter.tx_burst(&mut burst, 4), burst.len(), burst.bytes()), (Ok(4), 3, 67 + 68 + 69));
        assert_eq!((port.tx_stats().bytes, scatter.tx_stats().bytes), (60 + 61 + 62, 63 + 64 + 65 + 66));
        assert_eq!((port.tx_burst(&mut burst, MAX_BURST), port.tx_burst(&mut burst, MAX_BURST)), (Ok(3), Ok(0)));
        let expected: Vec<_> = (0..10).map(|number| frame(number, 60 + number as u16)).collect();
        assert_eq!((receivers[0].take(), pool.available()), (expected, MAX_BURST - 10));
    }
}

/// An error is about a frame that was offered, and frames that were not offered stay behind those that were
/// refused.
#[test]
fn of_frames_that_were_not_offered_an_error_says_nothing() {
    let (gate, pool, mut receivers) = World::all(MAX_BURST, RingFormat::default());
    let (mut port, mut burst) = (PeerPort::new(&gate, PeerIdx(0)), pool.burst());
    for (number, len) in [(0, 60), (1, 1515), (2, 62), (3, 1515), (4, 64)] {
        push(&mut burst, number, len);
    }
    assert_eq!(port.tx_burst(&mut burst, 3), Err(TxError::TooLong { peer: PeerIdx(0), index: 0 }));
    assert_eq!((port.tx_stats().packets, port.tx_stats().too_long, port.tx_stats().full), (2, 1, 0));
    assert_eq!(burst.frames().map(|frame| frame.len()).collect::<Vec<_>>(), [1515, 1515, 64]);
    assert!(burst.remove(0) && burst.remove(0));
    assert_eq!(port.tx_burst(&mut burst, 1), Ok(1));
    assert_eq!(receivers[0].take(), [frame(0, 60), frame(2, 62), frame(4, 64)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The bursts are of any size with frames of any length, and the receiver looks now and then.
    #[test]
    fn nothing_is_lost_doubled_or_torn(
        calls in vec((vec(1u16..1515, 1..100), any::<bool>()), 1..20),
        format in 0..3usize,
    ) {
        let (gate, pool, mut receivers) = World::all(MAX_BURST, RingFormat::ALL[format]);
        let mut port = PeerPort::new(&gate, PeerIdx(0));
        let mut burst = pool.burst();
        let (mut sent, mut arrived) = (Vec::new(), Vec::new());
        for (lens, look) in calls {
            for len in lens {
                if burst.room() > 0 {
                    push(&mut burst, sent.len(), len);
                    sent.push(frame(sent.len(), len));
                }
            }
            prop_assert!(port.tx_burst(&mut burst, MAX_BURST).is_ok());
            if look {
                arrived.extend(receivers[0].take());
            }
        }
        while !burst.is_empty() || arrived.len() < sent.len() {
            arrived.extend(receivers[0].take());
            prop_assert!(port.tx_burst(&mut burst, MAX_BURST).is_ok());
        }
        prop_assert!(arrived == sent && receivers[0].take().is_empty());
        prop_assert!(receivers[1].take().is_empty());
    }
}
