//! The sender's mistakes.

use super::*;
use sluice_abi::call::{HDR, MAX_BURST, Packet};
use sluice_abi::directory::MAX_PEERS;
use sluice_abi::{PeerIdx, map, net};
use sluice_inside::{Window, transmit};
use sluice_memory::Words;

#[test]
fn a_frame_that_leaves_packet_memory_is_the_senders_mistake() {
    for len in [60, 64] {
        for offset in [PACKETS_LEN - u64::from(len) + 1, PACKETS_LEN - 1, PACKETS_LEN, u64::from(u32::MAX)] {
            mistaken(offset, len);
        }
    }
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(1);
    assert_eq!(sender.transmit_one(PACKETS_LEN - 60, 60), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
}

#[test]
fn a_frame_without_bytes_is_the_senders_mistake() {
    for offset in [0, 1, PACKETS_LEN - 1, PACKETS_LEN] {
        mistaken(offset, 0);
    }
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(4);
    let packet = |len| Packet::new(0, len, PeerIdx(0));
    let burst = sender.transmit(&[packet(60), packet(64), packet(0), packet(60)]);
    assert_eq!(burst, Burst { status: Status::new(Code::BadRequest), accepted: vec![0, 1] });
    assert_eq!((sender.named, sender.peers[0].used_idx()), (Some(2), 2));
}

const TOO_LONG: Status = Status::of_peer(Code::TooLong, PeerIdx(0));

/// A frame of `len` bytes with these EtherTypes, each where it is if all before it begin tags; whether it is accepted.
/// A later frame goes on.
#[track_caller]
fn takes(len: u16, types: &[u16]) -> bool {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(2);
    sender.packets().copy_from_slice(12, &[0; 16]).expect("inside");
    for (at, kind) in types.iter().enumerate() {
        sender.packets().write(12 + 4 * at as u64, kind.to_be()).expect("inside");
    }
    let burst = sender.transmit_one(0, len);
    assert!(burst.status == TOO_LONG && sender.named == Some(0) || burst.status == Status::OK, "{:?}", burst.status);
    assert!(!sender.window.is_quarantined(PeerIdx(0)));
    assert_eq!(sender.send(&[0]), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
    burst.status == Status::OK
}

#[test]
fn a_frame_longer_than_the_mtu_allows_is_refused_alone() {
    const IPV4: u16 = 0x0800;
    const CUSTOMER: u16 = 0x8100;
    const SERVICE: u16 = 0x88a8;
    for (types, longest) in [
        (&[IPV4][..], MTU + 14),
        (&[0x0081, CUSTOMER], MTU + 14),
        (&[CUSTOMER, IPV4], MTU + 18),
        (&[SERVICE, IPV4, CUSTOMER], MTU + 18),
        (&[SERVICE, CUSTOMER, IPV4], MTU + 22),
        (&[CUSTOMER, CUSTOMER, CUSTOMER], MTU + 22),
    ] {
        assert!(takes(longest, types), "{types:x?}");
        for len in [longest + 1, longest + 4, 0x8000, u16::MAX] {
            assert!(!takes(len, types), "{types:x?} {len}");
        }
    }
}

#[test]
fn what_surrounds_a_frame_that_is_too_long_is_sent() {
    let mut sender = WindowSender::new(2, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(4));
    let packet = |len, peer| Packet::new(0, len, PeerIdx(peer));
    let packets =
        [packet(60, 0), packet(OWED + 1, 0), packet(64, 1), packet(64, 0), packet(OWED + 1, 1), packet(60, 0)];
    let burst = sender.transmit(&packets);
    assert_eq!(burst, Burst { status: TOO_LONG, accepted: vec![0, 2, 3, 5] });
    assert_eq!(sender.named, Some(1));
    assert_eq!([0, 1].map(|place: usize| sender.peers[place].used_idx()), [3, 1]);
}

/// With the MTU agreed on, a buffer holds a frame of it; not agreed on, nothing is owed, whatever the device's MTU is.
#[test]
fn a_frame_too_long_for_a_lawful_buffer_is_refused_alone_and_the_buffer_stays() {
    let agreed = [(true, 68, 82), (true, MTU, OWED), (true, 9000, 9014)];
    for (agreed, mtu, holds) in agreed.into_iter().chain([(false, MTU, 1500), (false, 9000, OWED), (false, 68, 61)]) {
        let mut sender = WindowSender::new(1, SIZE);
        let entry = &mut sender.peers[0].entry;
        entry.mtu = mtu;
        entry.queues[0].features &= if agreed { u64::MAX } else { !net::F::MTU.bits() };
        assert_eq!(sender.peers[0].attach(&mut sender.window, PeerIdx(0)), Ok(()));
        sender.peers[0].give_buffer((GPA + BUFFERS, HDR_LEN + u32::from(holds)), DescF::WRITE);
        sender.packets().write(12, 0x8100u16.to_be()).expect("inside");
        for _ in 0..3 {
            assert_eq!(sender.transmit_one(0, holds + 1), Burst { status: TOO_LONG, accepted: vec![] });
            assert_eq!((sender.window.is_quarantined(PeerIdx(0)), sender.peers[0].used_idx()), (false, 0));
        }
        assert_eq!(sender.transmit_one(0, holds), Burst { status: Status::OK, accepted: vec![0] });
        sender.check();
    }
}

#[test]
fn a_mistake_refuses_what_follows_and_keeps_what_precedes() {
    let mut sender = WindowSender::new(2, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(4));
    let packet = |len, peer| Packet::new(0, len, PeerIdx(peer));
    let burst = sender.transmit(&[packet(60, 0), packet(60, 1), packet(0, 0), packet(60, 0), packet(60, 1)]);
    assert_eq!(burst, Burst { status: Status::new(Code::BadRequest), accepted: vec![0, 1] });
    assert_eq!(sender.named, Some(2));
    assert_eq!([0, 1].map(|place: usize| sender.peers[place].used_idx()), [1, 1]);
    assert!(!sender.window.is_quarantined(PeerIdx(0)));
}

/// Packets that found a full ring, or a peer that is not ready, stay behind as the one that is wrong does; only that
/// one is named.
#[test]
fn the_packet_that_is_named_is_the_one_that_is_wrong() {
    let packet = |len, peer| Packet::new(0, len, PeerIdx(peer));
    for (packets, code, named, accepted) in [
        (vec![packet(60, 1), packet(60, 0), packet(60, 0), packet(0, 0)], Code::BadRequest, 3, vec![1, 2]),
        (vec![packet(60, 0), packet(60, 1), packet(60, 2), packet(0, 0)], Code::PeerNotReady, 2, vec![0]),
        (vec![packet(60, 1), packet(LONGEST, 0), packet(60, 2), packet(60, 0)], Code::TooLong, 1, vec![3]),
        (vec![packet(60, 1), packet(60, 2), packet(60, 0), packet(60, 2)], Code::PeerNotReady, 1, vec![2]),
    ] {
        // Peer 1 has no buffer, and peer 2 is not there.
        let mut sender = WindowSender::new(2, SIZE);
        sender.peers[0].give(4);
        let burst = sender.transmit(&packets);
        assert_eq!((burst.status.code(), sender.named, burst.accepted), (code, Some(named), accepted));
    }
}

#[test]
fn more_packets_than_a_burst_has_are_the_senders_mistake() {
    let mut sender = WindowSender::new(1, 16);
    sender.peers[0].give(16);
    let burst = sender.transmit(&[Packet::new(0, 60, PeerIdx(0)); MAX_BURST]);
    assert_eq!(burst, Burst { status: Status::FULL, accepted: (0..16).collect() });
    for count in [MAX_BURST as u64 + 1, 1 << 32, u64::MAX] {
        let burst = sender.call(count);
        assert_eq!(burst, Burst { status: Status::new(Code::BadRequest), accepted: vec![] });
        assert_eq!(sender.named, None, "no packet of it is worse than another");
    }
    assert_eq!(sender.peers[0].used_idx(), 16);
}

#[test]
fn a_request_block_too_short_for_the_count_is_the_senders_mistake() {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(4);
    let block = sender.request();
    // The fourth lies behind the end.
    (0..4).for_each(|place| block.write(8 * place, Packet::new(0, 64, PeerIdx(0))).expect("inside"));
    let request = block.sub(0, 24).expect("inside");
    let burst = Burst::of(transmit(&mut sender.window, request, 4, Words), 4);
    assert_eq!(burst, Burst { status: Status::new(Code::BadRequest), accepted: vec![] });
    sender.check();
}

#[test]
fn a_peer_that_is_not_there_is_not_ready() {
    let mut sender = WindowSender::new(2, SIZE);
    for index in [2, MAX_PEERS as u8 - 1, MAX_PEERS as u8, 0x80, u8::MAX] {
        sender.peers.iter_mut().for_each(|peer| peer.give(1));
        let burst = sender.send(&[0, index, 1]);
        assert_eq!(burst, Burst { status: Status::of_peer(Code::PeerNotReady, PeerIdx(index)), accepted: vec![0, 2] });
        assert_eq!(sender.named, Some(1));
        sender.check();
    }
}

/// A window serves queue 0, and what a later one may mean by a flag this one must not guess: whether the packet comes
/// first or behind others, is as long as the usual ones or not.
#[test]
fn a_queue_or_a_flag_that_there_is_not_is_the_senders_mistake_and_named() {
    for (len, before) in [(64, 0), (64, 1), (100, 0), (100, 2)] {
        for flags in [1 << 4, 15 << 4, 1 << 1, 1 << 2, 1 << 3, 1 << 4 | HDR, u8::MAX] {
            let mut sender = WindowSender::new(2, SIZE);
            sender.peers.iter_mut().for_each(|peer| peer.give(4));
            let right = Packet::new(100, len, PeerIdx(0));
            let mut packets = vec![right; before];
            packets.extend([Packet { flags, ..right }, right, Packet::new(100, len, PeerIdx(1))]);
            let burst = sender.transmit(&packets);
            assert_eq!(burst, Burst { status: Status::new(Code::BadRequest), accepted: Vec::from_iter(0..before) });
            assert_eq!(sender.named, Some(before as u16));
            assert_eq!([0, 1].map(|peer: usize| usize::from(sender.peers[peer].used_idx())), [before, 0]);
            assert!(!sender.window.is_quarantined(PeerIdx(0)));
        }
    }
}

#[test]
fn without_packet_memory_nothing_is_sent() {
    let (mut window, peer) = (Window::new(), Peer::new(SIZE));
    assert_eq!(peer.attach(&mut window, PeerIdx(0)), Ok(()));
    let burst = Burst::of(transmit(&mut window, Memory::new(&[map::PAGE]).run(0), 1, Words), 1);
    assert_eq!(burst, Burst { status: Status::new(Code::NotRegistered), accepted: vec![] });
}

/// A packet of `len` bytes at `offset` is refused, and nobody else is blamed.
#[track_caller]
fn mistaken(offset: u64, len: u16) {
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(1);
    assert_eq!(sender.transmit_one(offset, len), Burst { status: Status::new(Code::BadRequest), accepted: vec![] });
    assert!(!sender.window.is_quarantined(PeerIdx(0)));
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.check();
}

/// A library's user may have a request block of any length: no packet behind its end is read.
#[test]
fn a_request_block_has_as_many_packets_as_fit_into_it() {
    let mut sender = WindowSender::new(1, 8);
    sender.peers[0].give(4);
    let block = sender.request().sub(0, 24).expect("inside");
    for index in 0..3 {
        block.write(8 * index, Packet::new(0, 64, PeerIdx(0))).expect("inside");
    }
    let mut send = |count| transmit(&mut sender.window, block, count, Words).status;
    assert_eq!([4, 256, u64::MAX].map(&mut send).map(Status::code), [Code::BadRequest; 3]);
    assert_eq!(send(3), Status::OK);
}
