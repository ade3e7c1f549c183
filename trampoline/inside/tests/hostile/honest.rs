//! Honest peers: what is sent arrives.

use super::*;
use sluice_abi::PeerIdx;
use sluice_abi::call::Packet;
use sluice_abi::virtq::UsedElem;

#[test]
fn a_burst_arrives_whole_and_in_order() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(SIZE);
    let burst = sender.send(&[0; 5]);
    assert_eq!(burst, Burst { status: Status::OK, accepted: vec![0, 1, 2, 3, 4] });
    assert_eq!(sender.peers[0].used_idx(), 5);
    sender.check();
}

#[test]
fn a_used_entry_names_buffer_and_bytes() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(2);
    sender.transmit(&[Packet::new(0, 100, PeerIdx(0)), Packet::new(1000, 61, PeerIdx(0))]);
    let expected = |offset, len| with_header(&read(sender.packets(), offset, len));
    let (first, second) = (expected(0, 100), expected(1000, 61));
    let peer = &mut sender.peers[0];
    assert_eq!(peer.take(), Some((UsedElem { id: 7, len: 112 }, first)));
    assert_eq!(peer.take(), Some((UsedElem { id: 6, len: 73 }, second)));
    peer.check_stale(7, 112);
    peer.check_stale(6, 73);
}

/// The frames are the used ring itself, so each shows how the ring stood when it was copied.
#[test]
fn the_used_index_moves_once_at_the_end() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(3);
    sender.window.set_packets(sender.peers[0].ram());
    sender.transmit(&[Packet::new(DEVICE as u32, 64, PeerIdx(0)); 3]);
    let peer = &mut sender.peers[0];
    assert_eq!(peer.used_idx(), 3);
    let [_, second, third] = [(); 3].map(|()| peer.take().expect("three were sent").1.split_off(HEADER.len()));
    assert_eq!(second[..12], [0, 0, 0, 0, 7, 0, 0, 0, 76, 0, 0, 0]);
    assert_eq!(third[..16], [0, 0, 0, 0, 7, 0, 0, 0, 76, 0, 0, 0, 6, 0, 0, 0]);
}

#[test]
fn indices_wrap_past_65_535() {
    let mut sender = WindowSender::new(1, 16);
    let mut sent = 0u32;
    for count in (1..=16).cycle() {
        if sent >= 70_000 {
            break;
        }
        sent += count;
        sender.peers[0].give(count as u16);
        let burst = sender.send(&vec![0; count as usize]);
        assert_eq!((burst.status, burst.accepted.len()), (Status::OK, count as usize));
        sender.check();
    }
    assert_eq!(u32::from(sender.peers[0].used_idx()), sent - 65_536);
}

#[test]
fn a_full_ring_refuses_the_rest_and_a_later_call_goes_on() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(5);
    assert_eq!(sender.send(&[0; 8]), Burst { status: Status::FULL, accepted: vec![0, 1, 2, 3, 4] });
    assert_eq!(sender.send(&[0; 3]), Burst { status: Status::FULL, accepted: vec![] });
    sender.check();
    sender.peers[0].give(2);
    assert_eq!(sender.send(&[0; 3]), Burst { status: Status::FULL, accepted: vec![0, 1] });
    sender.check();
    assert_eq!(sender.peers[0].used_idx(), 7);
}

#[test]
fn a_full_peer_holds_up_no_other() {
    let mut sender = WindowSender::new(2, SIZE);
    sender.peers[0].give(1);
    sender.peers[1].give(4);
    assert_eq!(sender.send(&[0, 0, 1, 0, 1, 1, 0]), Burst { status: Status::FULL, accepted: vec![0, 2, 4, 5] });
    sender.check();
}

/// Peer 1's buffer is peer 0's available ring: the frame to it makes another buffer available at peer 0.
#[test]
fn a_peer_that_was_full_stays_full_for_the_call() {
    let mut sender = WindowSender::new(1, SIZE);
    let mut twin = sender.peers[0].twin();
    assert_eq!(twin.attach(&mut sender.window, PeerIdx(1)), Ok(()));
    twin.give_buffer((GPA + DRIVER - u64::from(HDR_LEN), BUFFER_LEN), DescF::WRITE);
    sender.peers[0].give(1);
    sender.packets().copy_from_slice(0, &[0, 0, 2, 0, 7, 0, 7, 0]).expect("inside");
    let packet = |peer| Packet::new(0, 8, PeerIdx(peer));
    let burst = sender.transmit(&[packet(0), packet(0), packet(1), packet(0)]);
    assert_eq!(burst, Burst { status: Status::FULL, accepted: vec![0, 2] });
    assert_eq!(sender.transmit(&[packet(0)]).accepted, [0]);
}

#[test]
fn a_burst_scatters_over_three_peers() {
    for lines in [false, true] {
        let mut sender = WindowSender::new(3, SIZE);
        sender.lines = lines;
        sender.peers.iter_mut().for_each(|peer| peer.give(SIZE));
        let burst = sender.send(&[0, 1, 2, 2, 1, 0, 0, 0, 1, 2, 1]);
        assert_eq!(burst, Burst { status: Status::OK, accepted: (0..11).collect() });
        assert_eq!([0, 1, 2].map(|place: usize| sender.peers[place].used_idx()), [4, 4, 3]);
        sender.check();
    }
}

#[test]
fn a_header_over_two_descriptors_arrives_right() {
    arrives(|peer| peer.give_chain(&[(peer.buffer(0), 5), (peer.buffer(1), BUFFER_LEN)], DescF::WRITE, 0));
}

#[test]
fn a_header_over_three_descriptors_arrives_right() {
    let pieces = |peer: &Peer| [(peer.buffer(0), 5), (peer.buffer(1), 6), (peer.buffer(2), BUFFER_LEN)];
    arrives(|peer| peer.give_chain(&pieces(peer), DescF::WRITE, 0));
}

#[test]
fn a_header_of_its_own_and_a_frame_in_pieces_arrive_right() {
    let pieces =
        |peer: &Peer| [(peer.buffer(0), HDR_LEN), (peer.buffer(1), 1), (peer.buffer(2), 30), (peer.buffer(3), 1500)];
    arrives(|peer| peer.give_chain(&pieces(peer), DescF::WRITE, 0));
}

#[test]
fn a_chain_as_long_as_the_queue_arrives_right() {
    let pieces =
        |peer: &Peer| [0, 1, 2, 3, 4, 5, 6, 7].map(|index| (peer.buffer(index), if index < 7 { 10 } else { 1500 }));
    arrives(|peer| peer.give_chain(&pieces(peer), DescF::WRITE, 0));
}

#[test]
fn empty_descriptors_in_a_chain_are_passed_over() {
    let pieces = |peer: &Peer| [(peer.buffer(0), 0), (peer.buffer(1), 12), (peer.buffer(2), 0), (peer.buffer(3), 1500)];
    arrives(|peer| peer.give_chain(&pieces(peer), DescF::WRITE, 0));
}

#[test]
fn what_follows_a_chain_that_suffices_is_not_looked_at() {
    arrives(|peer| peer.give_chain(&[(peer.buffer(0), BUFFER_LEN)], MORE, u16::MAX));
}

#[test]
fn a_buffer_in_the_second_region_arrives_right() {
    arrives(|peer| peer.give_buffer((SECOND_GPA + 100, BUFFER_LEN), DescF::WRITE));
}

#[test]
fn a_chain_over_both_regions_arrives_right() {
    arrives(|peer| peer.give_chain(&[(SECOND_GPA - 20, 20), (SECOND_GPA, BUFFER_LEN)], DescF::WRITE, 0));
}

#[test]
fn a_buffer_at_the_end_of_a_region_arrives_right() {
    arrives(|peer| peer.give_buffer((SECOND_GPA - u64::from(BUFFER_LEN), BUFFER_LEN), DescF::WRITE));
    arrives(|peer| peer.give_buffer((SECOND_GPA - 272, 272), DescF::WRITE));
    arrives(|peer| peer.give_buffer((SECOND_GPA + SECOND_LEN - 272, 272), DescF::WRITE));
}

/// A frame of 260 bytes goes into what `give` makes available.
#[track_caller]
fn arrives(give: impl Fn(&mut Peer)) {
    let mut sender = WindowSender::new(1, SIZE);
    give(&mut sender.peers[0]);
    assert_eq!(sender.transmit_one(300, 260), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
    // Where the queue goes on, it is as if nothing had been.
    sender.peers[0].give(1);
    assert_eq!(sender.send(&[0]), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
}
