//! What outlives a call: faults, peers that come and go, the books.

use super::*;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Accepted, Packet};

#[test]
fn what_arrived_before_a_fault_stays() {
    let mut sender = WindowSender::new(2, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(2));
    sender.peers[0].offer(SIZE);
    sender.peers[0].give(1);
    let burst = sender.send(&[0, 0, 0, 1, 0, 1]);
    assert_eq!(burst, Burst { status: Status::peer_fault(Clause::DescIndex, PeerIdx(0)), accepted: vec![0, 1, 3, 5] });
    assert_eq!(sender.named, Some(2));
    sender.check();
}

#[test]
fn the_first_of_two_faults_is_reported_and_both_peers_are_quarantined() {
    let mut sender = WindowSender::new(3, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(2));
    sender.peers[0].offer(SIZE);
    sender.peers[2].set_avail_idx(SIZE + 1);
    let burst = sender.send(&[2, 0, 1, 0, 0, 1, 2]);
    assert_eq!(burst, Burst { status: Status::peer_fault(Clause::AvailIdx, PeerIdx(2)), accepted: vec![1, 2, 3, 5] });
    assert_eq!(sender.named, Some(0));
    assert_eq!([0, 1, 2].map(|place| sender.window.is_quarantined(PeerIdx(place))), [true, false, true]);
    sender.check();
}

#[test]
fn a_peer_attached_anew_is_no_longer_quarantined() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].offer(SIZE);
    sender.send(&[0]);
    assert!(sender.window.is_quarantined(PeerIdx(0)));
    sender.peers[0].restart();
    sender.peers[0].give(1);
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    assert_eq!(sender.send(&[0]), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
}

/// The host changes an entry whose queue goes on, as where a peer's memory grows: nothing is sent twice or lost, and
/// what broke a rule stays out.
#[test]
fn a_queue_goes_on_where_it_is_whatever_else_of_its_peer_changes() {
    let mut sender = WindowSender::new(2, SIZE);
    for round in 1..10 {
        sender.peers.iter_mut().for_each(|peer| peer.give(2));
        assert_eq!(sender.send(&[0, 1, 0]).accepted, [0, 1, 2]);
        let peer = &mut sender.peers[0];
        (peer.entry.sequence, peer.entry.mtu, peer.entry.region_count) = (round, 1000, 1 + round as u32 % 2);
        assert_eq!(peer.attach(&mut sender.window, PeerIdx(0)), Ok(()));
        assert_eq!(sender.send(&[1]).accepted, [0]);
        sender.check();
    }
    sender.peers[0].offer(SIZE);
    sender.send(&[0]);
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    assert!(sender.window.is_quarantined(PeerIdx(0)));
}

#[test]
fn a_detached_peer_is_not_ready() {
    let mut sender = WindowSender::new(2, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(1));
    sender.window.detach_peer(PeerIdx(0));
    let burst = sender.send(&[0, 1]);
    assert_eq!(burst, Burst { status: Status::of_peer(Code::PeerNotReady, PeerIdx(0)), accepted: vec![1] });
    sender.check();
}

/// The host closes a sender's windows for a while: the peer's driver has not heard of that.
#[test]
fn a_queue_that_comes_again_after_it_was_detached_goes_on_where_it_is() {
    let mut sender = WindowSender::new(2, SIZE);
    for _ in 0..3 {
        sender.peers.iter_mut().for_each(|peer| peer.give(2));
        assert_eq!(sender.send(&[0, 1, 0]).accepted, [0, 1, 2]);
        (0..2).for_each(|_| sender.window.detach_peer(PeerIdx(0)));
        assert_eq!(sender.send(&[0, 1]).accepted, [1]);
        assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
        sender.check();
    }
    sender.peers[0].offer(SIZE);
    sender.send(&[0]);
    sender.window.detach_peer(PeerIdx(0));
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    assert!(sender.window.is_quarantined(PeerIdx(0)), "it broke a rule before");
    sender.peers[0].restart();
    sender.peers[0].give(1);
    sender.window.detach_peer(PeerIdx(0));
    assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
    assert_eq!(sender.send(&[0]).accepted, [0], "another start of the queue");
}

#[test]
fn recovering_from_a_finished_call_changes_nothing() {
    let mut sender = WindowSender::new(2, SIZE);
    assert_eq!(sender.window.recover(), Accepted::default());
    sender.peers.iter_mut().for_each(|peer| peer.give(2));
    let burst = sender.transmit(&[0, 1, 1, 1].map(|peer| Packet::new(0, 60, PeerIdx(peer))));
    for _ in 0..2 {
        let recovered = sender.window.recover();
        assert!((0..4).all(|index| recovered.contains(index) == burst.accepted.contains(&index)));
        assert_eq!([0, 1].map(|place: usize| sender.peers[place].used_idx()), [1, 2]);
    }
    sender.peers.iter_mut().for_each(|peer| while peer.take().is_some() {});
    assert_eq!(sender.send(&[0, 1]).accepted, [0]);
    sender.check();
}

#[test]
fn calls_are_counted_whatever_their_end() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.send(&[]);
    sender.send(&[0]);
    sender.send(&[1]);
    sender.call(u64::MAX);
    assert_eq!(sender.window.calls(), 4);
}
