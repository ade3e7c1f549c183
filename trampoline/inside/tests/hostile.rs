//! What the window code makes of rings, honest and hostile. One test per case; every test ends with a look at the poison around
//! everybody's memory.

mod peer;

use peer::*;
use proptest::collection::vec;
use proptest::prelude::*;
use sluice_abi::call::{Accepted, Clause, Code, HAS_HDR, MAX_BURST, Packet, Status};
use sluice_abi::directory::{self, MAX_PEERS, MAX_REGIONS};
use sluice_abi::virtq::{Desc, DescF, UsedElem};
use sluice_abi::{Gpa, map, net};
use sluice_inside::{Window, transmit};
use sluice_memory::Words;

const SIZE: u16 = 8;
/// Longest frame that a peer's buffers must hold, bytes.
const OWED: u16 = MTU + 14;
/// Longest frame that is accepted, bytes.
const LONGEST: u16 = MTU + 18;
const MORE: DescF = DescF::WRITE.union(DescF::NEXT);

// Honest peers.

#[test]
fn a_burst_arrives_whole_and_in_order() {
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].give(SIZE);
    let burst = sender.send(&[0; 5]);
    assert_eq!(burst, Burst { status: Status::OK, accepted: vec![0, 1, 2, 3, 4] });
    assert_eq!(sender.peers[0].used_idx(), 5);
    sender.check();
}

#[test]
fn a_used_entry_names_buffer_and_bytes() {
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].give(2);
    sender.transmit(&[Packet { offset: 0, len: 100, peer: 0 }, Packet { offset: 1000, len: 61, peer: 0 }]);
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
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].give(3);
    sender.window.set_packets(sender.peers[0].ram());
    sender.transmit(&[Packet { offset: DEVICE as u32, len: 64, peer: 0 }; 3]);
    let peer = &mut sender.peers[0];
    assert_eq!(peer.used_idx(), 3);
    let [_, second, third] = [(); 3].map(|()| peer.take().expect("three were sent").1.split_off(HEADER.len()));
    assert_eq!(second[..12], [0, 0, 0, 0, 7, 0, 0, 0, 76, 0, 0, 0]);
    assert_eq!(third[..16], [0, 0, 0, 0, 7, 0, 0, 0, 76, 0, 0, 0, 6, 0, 0, 0]);
}

#[test]
fn indices_wrap_past_65_535() {
    let mut sender = Sender::new(1, 16);
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
    let mut sender = Sender::new(1, SIZE);
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
    let mut sender = Sender::new(2, SIZE);
    sender.peers[0].give(1);
    sender.peers[1].give(4);
    assert_eq!(sender.send(&[0, 0, 1, 0, 1, 1, 0]), Burst { status: Status::FULL, accepted: vec![0, 2, 4, 5] });
    sender.check();
}

/// Peer 1's buffer is peer 0's available ring: the frame to it makes another buffer available at peer 0.
#[test]
fn a_peer_that_was_full_stays_full_for_the_call() {
    let mut sender = Sender::new(1, SIZE);
    let mut twin = sender.peers[0].twin();
    assert_eq!(twin.attach(&mut sender.window, 1), Ok(()));
    twin.give_buffer((GPA + DRIVER - u64::from(HDR_LEN), BUFFER_LEN), DescF::WRITE);
    sender.peers[0].give(1);
    sender.packets().copy_from_slice(0, &[0, 0, 2, 0, 7, 0, 7, 0]).expect("inside");
    let packet = |peer| Packet { offset: 0, len: 8, peer };
    let burst = sender.transmit(&[packet(0), packet(0), packet(1), packet(0)]);
    assert_eq!(burst, Burst { status: Status::FULL, accepted: vec![0, 2] });
    assert_eq!(sender.transmit(&[packet(0)]).accepted, [0]);
}

#[test]
fn a_burst_scatters_over_three_peers() {
    let mut sender = Sender::new(3, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(SIZE));
    let burst = sender.send(&[0, 1, 2, 2, 1, 0, 0, 0, 1, 2, 1]);
    assert_eq!(burst, Burst { status: Status::OK, accepted: (0..11).collect() });
    assert_eq!([0, 1, 2].map(|place: usize| sender.peers[place].used_idx()), [4, 4, 3]);
    sender.check();
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

// Hostile rings.

#[test]
fn an_available_index_too_far_ahead_is_blamed() {
    blames(Clause::AvailIdx, |peer| peer.set_avail_idx(1 + SIZE + 1));
    blames(Clause::AvailIdx, |peer| peer.set_avail_idx(0x8000));
}

#[test]
fn an_available_index_that_goes_backwards_is_blamed() {
    blames(Clause::AvailIdx, |peer| peer.set_avail_idx(0));
}

#[test]
fn a_head_beyond_the_table_is_blamed() {
    blames(Clause::DescIndex, |peer| peer.offer(SIZE));
    blames(Clause::DescIndex, |peer| peer.offer(u16::MAX));
}

#[test]
fn a_next_beyond_the_table_is_blamed() {
    blames(Clause::DescIndex, |peer| peer.give_chain(&[(peer.buffer(0), 20)], MORE, SIZE));
    blames(Clause::DescIndex, |peer| peer.give_chain(&[(peer.buffer(0), 20), (peer.buffer(1), 20)], MORE, u16::MAX));
}

#[test]
fn a_chain_that_loops_is_blamed() {
    blames(Clause::ChainLength, |peer| peer.give_chain(&[(peer.buffer(0), 5)], MORE, 0));
    blames(Clause::ChainLength, |peer| peer.give_chain(&[(peer.buffer(0), 5), (peer.buffer(1), 5)], MORE, 0));
}

#[test]
fn a_loop_of_empty_descriptors_is_blamed() {
    blames(Clause::ChainLength, |peer| peer.give_chain(&[(peer.buffer(0), 0)], MORE, 0));
}

#[test]
fn a_chain_longer_than_any_driver_needs_is_blamed() {
    let chain = |len: u16| {
        let mut sender = Sender::new(1, 128);
        let pieces: Vec<_> = (0..len).map(|index| (GPA + BUFFERS + 2 * u64::from(index), 2)).collect();
        sender.peers[0].give_chain(&pieces, DescF::WRITE, 0);
        let burst = sender.transmit_one(0, 2 * len - HEADER.len() as u16);
        sender.check();
        burst.status
    };
    assert_eq!(chain(64), Status::OK);
    assert_eq!(chain(65), Status::peer_fault(Clause::ChainLength, 0));
    assert_eq!(chain(128), Status::peer_fault(Clause::ChainLength, 0));
}

#[test]
fn a_buffer_that_is_not_writable_is_blamed() {
    blames(Clause::NotWritable, |peer| peer.give_buffer((peer.buffer(0), BUFFER_LEN), DescF::empty()));
    blames(Clause::NotWritable, |peer| {
        peer.give_chain(&[(peer.buffer(0), 20), (peer.buffer(1), 2000)], DescF::empty(), 0)
    });
}

#[test]
fn an_indirect_table_is_blamed() {
    for flags in [DescF::INDIRECT, DescF::INDIRECT | DescF::WRITE, DescF::all()] {
        blames(Clause::NotNegotiated, |peer| peer.give_buffer((peer.buffer(0), BUFFER_LEN), flags));
        blames(Clause::NotNegotiated, |peer| {
            peer.give_chain(&[(peer.buffer(0), 20), (peer.buffer(1), 2000)], flags, 0)
        });
    }
}

#[test]
fn an_address_outside_the_regions_is_blamed() {
    let window = [map::STATE, map::STACK, map::LIST, map::CODE, map::peer_base(0)].map(|offset| map::SLOT_VA + offset);
    let near = [0, GPA - u64::from(BUFFER_LEN), GPA - 1, SECOND_GPA + SECOND_LEN, SECOND_GPA + SECOND_LEN + map::PAGE];
    for addr in window.into_iter().chain(near) {
        blames(Clause::Region, |peer| peer.give_buffer((addr, BUFFER_LEN), DescF::WRITE));
        blames(Clause::Region, |peer| peer.give_chain(&[(peer.buffer(0), 20), (addr, 2000)], DescF::WRITE, 0));
    }
}

#[test]
fn an_address_that_wraps_is_blamed() {
    for addr in [u64::MAX, u64::MAX - 20, 0u64.wrapping_sub(u64::from(BUFFER_LEN)), GPA.wrapping_sub(1 << 63)] {
        for len in [BUFFER_LEN, u32::MAX] {
            blames(Clause::Region, |peer| peer.give_buffer((addr, len), DescF::WRITE));
            blames(Clause::Region, |peer| peer.give_chain(&[(peer.buffer(0), 20), (addr, len)], DescF::WRITE, 0));
        }
    }
}

#[test]
fn a_buffer_over_the_end_of_a_region_is_blamed() {
    for end in [SECOND_GPA, SECOND_GPA + SECOND_LEN] {
        for len in [BUFFER_LEN, u32::MAX] {
            blames(Clause::Region, |peer| peer.give_buffer((end - 50, len), DescF::WRITE));
            blames(Clause::Region, |peer| peer.give_chain(&[(peer.buffer(0), 20), (end - 1, len)], DescF::WRITE, 0));
        }
    }
}

#[test]
fn an_empty_buffer_is_blamed() {
    blames(Clause::TooShort, |peer| peer.give_buffer((peer.buffer(0), 0), DescF::WRITE));
    blames(Clause::TooShort, |peer| peer.give_chain(&[(peer.buffer(0), 0), (peer.buffer(1), 0)], DescF::WRITE, 0));
}

#[test]
fn a_chain_too_short_is_blamed() {
    blames(Clause::TooShort, |peer| peer.give_buffer((peer.buffer(0), 1), DescF::WRITE));
    blames(Clause::TooShort, |peer| peer.give_buffer((peer.buffer(0), HDR_LEN), DescF::WRITE));
    blames(Clause::TooShort, |peer| peer.give_chain(&[(peer.buffer(0), 12), (peer.buffer(1), 59)], DescF::WRITE, 0));
}

#[test]
fn a_buffer_one_byte_shorter_than_it_must_be_is_blamed() {
    let mut sender = Sender::new(1, SIZE);
    let len = HDR_LEN + u32::from(OWED) - 1;
    sender.peers[0].give_buffer((GPA + BUFFERS, len), DescF::WRITE);
    assert_eq!(sender.transmit_one(0, OWED).status, Status::peer_fault(Clause::TooShort, 0));
    sender.check();
}

#[test]
fn what_arrived_before_a_fault_stays() {
    let mut sender = Sender::new(2, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(2));
    sender.peers[0].offer(SIZE);
    sender.peers[0].give(1);
    let burst = sender.send(&[0, 0, 0, 1, 0, 1]);
    assert_eq!(burst, Burst { status: Status::peer_fault(Clause::DescIndex, 0), accepted: vec![0, 1, 3, 5] });
    sender.check();
}

#[test]
fn the_first_of_two_faults_is_reported_and_both_peers_are_quarantined() {
    let mut sender = Sender::new(3, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(2));
    sender.peers[0].offer(SIZE);
    sender.peers[2].set_avail_idx(SIZE + 1);
    let burst = sender.send(&[2, 0, 1, 0, 0, 1, 2]);
    assert_eq!(burst, Burst { status: Status::peer_fault(Clause::AvailIdx, 2), accepted: vec![1, 2, 3, 5] });
    assert_eq!([0, 1, 2].map(|place| sender.window.is_quarantined(place)), [true, false, true]);
    sender.check();
}

#[test]
fn a_peer_attached_anew_is_no_longer_quarantined() {
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].offer(SIZE);
    sender.send(&[0]);
    assert!(sender.window.is_quarantined(0));
    sender.peers[0].restart();
    sender.peers[0].give(1);
    assert_eq!(sender.peers[0].attach(&mut sender.window, 0), Ok(()));
    assert_eq!(sender.send(&[0]), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
}

/// The first frame is written over descriptor 7, which the second packet's buffer has.
#[test]
fn a_descriptor_that_changes_during_the_call_is_checked_as_it_is_used() {
    let mut sender = Sender::new(1, SIZE);
    let peer = &mut sender.peers[0];
    peer.describe(0, (GPA + TABLE + 7 * 16 - u64::from(HDR_LEN), BUFFER_LEN), DescF::WRITE, 0);
    peer.describe(7, (peer.buffer(7), BUFFER_LEN), DescF::WRITE, 0);
    peer.offer(0);
    peer.offer(7);
    let desc = Desc { addr: Gpa(GPA - 1), len: BUFFER_LEN, flags: DescF::WRITE.bits(), next: 0 };
    sender.packets().write(0, desc).expect("inside");
    let burst = sender.transmit(&[Packet { offset: 0, len: 16, peer: 0 }; 2]);
    assert_eq!(burst, Burst { status: Status::peer_fault(Clause::Region, 0), accepted: vec![0] });
    assert_eq!(sender.peers[0].used_idx(), 1);
}

#[test]
fn a_used_index_moved_by_the_peer_is_not_believed() {
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].give(3);
    sender.send(&[0]);
    sender.check();
    sender.peers[0].ram().write(DEVICE + 2, 0x1234u16).expect("inside");
    assert_eq!(sender.send(&[0, 0]).accepted, [0, 1]);
    assert_eq!(sender.peers[0].used_idx(), 3);
    sender.check();
}

// Hostile queues.

#[test]
fn a_queue_of_a_wrong_size_is_refused() {
    for size in [0, 3, 6, 9, 0x7fff, 0x8000, 0x8001, u16::MAX] {
        refuses(Clause::Layout, |entry| entry.queues[0].size = size);
    }
}

#[test]
fn a_queue_area_that_is_not_aligned_is_refused() {
    for off in [1, 2, 4] {
        refuses(Clause::Layout, |entry| entry.queues[0].addresses.desc.0 += off);
    }
    refuses(Clause::Layout, |entry| entry.queues[0].addresses.driver.0 += 1);
    for off in [1, 2, 3] {
        refuses(Clause::Layout, |entry| entry.queues[0].addresses.device.0 += off);
    }
}

#[test]
fn a_queue_area_outside_the_regions_is_refused() {
    let end = SECOND_GPA + SECOND_LEN;
    for addr in [0, GPA - 16, SECOND_GPA - 16, end - 16, end, u64::MAX - 15] {
        refuses(Clause::Layout, |entry| entry.queues[0].addresses.desc = Gpa(addr));
        refuses(Clause::Layout, |entry| entry.queues[0].addresses.driver = Gpa(addr));
        refuses(Clause::Layout, |entry| entry.queues[0].addresses.device = Gpa(addr));
    }
}

#[test]
fn a_peer_without_queue_or_memory_is_refused() {
    refuses(Clause::Layout, |entry| entry.queue_count = 0);
    refuses(Clause::Layout, |entry| entry.region_count = 0);
    refuses(Clause::Layout, |entry| entry.region_count = MAX_REGIONS as u32 + 1);
    refuses(Clause::Layout, |entry| entry.region_count = u32::MAX);
}

#[test]
fn a_region_outside_the_slot_or_around_the_address_space_is_refused() {
    for index in [0, 1] {
        refuses(Clause::Layout, |entry| entry.regions[index].slot_offset = map::SLOT_LEN - map::PAGE);
        refuses(Clause::Layout, |entry| entry.regions[index].slot_offset = u64::MAX);
        refuses(Clause::Layout, |entry| entry.regions[index].len = u64::MAX);
        refuses(Clause::Layout, |entry| entry.regions[index].gpa = Gpa(u64::MAX - map::PAGE));
    }
}

#[test]
fn a_region_too_near_to_the_next_peer_is_refused() {
    let last = map::PEER_STRIDE - map::GUESS_REACH;
    refuses(Clause::Layout, |entry| entry.regions[0].slot_offset = last + map::PAGE);
    refuses(Clause::Layout, |entry| entry.regions[0].slot_offset = map::peer_base(1) - map::PAGE);
}

#[test]
fn a_place_that_is_none_is_refused() {
    let peer = Peer::new(SIZE);
    assert_eq!(peer.attach(&mut Window::new(), MAX_PEERS as u16), Err(Clause::Layout));
    assert_eq!(peer.attach(&mut Window::new(), u16::MAX), Err(Clause::Layout));
}

#[test]
fn a_feature_that_nobody_knows_is_refused() {
    const VERSION_1: u32 = 32;
    let known = net::F::all().difference(net::F::ACCESS_PLATFORM);
    for bit in (0..64).filter(|bit| known.bits() >> bit & 1 == 0) {
        refuses(Clause::NotNegotiated, |entry| entry.queues[0].features |= 1 << bit);
    }
    refuses(Clause::NotNegotiated, |entry| entry.queues[0].features &= !(1 << VERSION_1));
    refuses(Clause::NotNegotiated, |entry| entry.queues[0].features = 0);
}

#[test]
fn a_refused_peer_leaves_the_one_before_it_attached() {
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].give(1);
    let mut other = Peer::new(SIZE);
    other.entry.queues[0].size = 7;
    assert_eq!(other.attach(&mut sender.window, 0), Err(Clause::Layout));
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.check();
}

// The sender's mistakes.

#[test]
fn a_frame_that_leaves_packet_memory_is_the_senders_mistake() {
    for offset in [PACKETS_LEN - 59, PACKETS_LEN - 1, PACKETS_LEN, u64::from(u32::MAX)] {
        mistaken(offset, 60);
    }
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].give(1);
    assert_eq!(sender.transmit_one(PACKETS_LEN - 60, 60), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
}

#[test]
fn a_frame_longer_than_the_mtu_allows_is_the_senders_mistake() {
    for len in [LONGEST + 1, 0x8000, u16::MAX] {
        mistaken(0, len);
    }
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].give(1);
    assert_eq!(sender.transmit_one(0, LONGEST), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
}

#[test]
fn a_tagged_frame_too_long_for_lawful_buffers_is_the_senders_mistake() {
    let mut sender = Sender::new(1, SIZE);
    let buffer = (GPA + BUFFERS, HDR_LEN + u32::from(OWED));
    sender.peers[0].give_buffer(buffer, DescF::WRITE);
    assert_eq!(sender.transmit_one(0, LONGEST), Burst { status: Status::new(Code::BadRequest), accepted: vec![] });
    assert!(!sender.window.is_quarantined(0));
    assert_eq!(sender.transmit_one(0, OWED), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
}

#[test]
fn a_mistake_refuses_what_follows_and_keeps_what_precedes() {
    let mut sender = Sender::new(2, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(4));
    let packet = |len, peer| Packet { offset: 0, len, peer };
    let burst = sender.transmit(&[packet(60, 0), packet(60, 1), packet(LONGEST + 1, 0), packet(60, 0), packet(60, 1)]);
    assert_eq!(burst, Burst { status: Status::new(Code::BadRequest), accepted: vec![0, 1] });
    assert_eq!([0, 1].map(|place: usize| sender.peers[place].used_idx()), [1, 1]);
    assert!(!sender.window.is_quarantined(0));
}

#[test]
fn more_packets_than_a_burst_has_are_the_senders_mistake() {
    let mut sender = Sender::new(1, 16);
    sender.peers[0].give(16);
    let burst = sender.transmit(&[Packet { offset: 0, len: 60, peer: 0 }; MAX_BURST]);
    assert_eq!(burst, Burst { status: Status::FULL, accepted: (0..16).collect() });
    for count in [MAX_BURST as u64 + 1, 1 << 32, u64::MAX] {
        let burst = sender.call(count);
        assert_eq!(burst, Burst { status: Status::new(Code::BadRequest), accepted: vec![] });
    }
    assert_eq!(sender.peers[0].used_idx(), 16);
}

#[test]
fn a_request_block_too_short_for_the_count_is_the_senders_mistake() {
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].give(4);
    let request = sender.request().sub(0, 24).expect("inside");
    let burst = Burst::of(transmit(&mut sender.window, request, 4, Words), 4);
    assert_eq!(burst, Burst { status: Status::new(Code::BadRequest), accepted: vec![] });
    sender.check();
}

#[test]
fn a_peer_that_is_not_there_is_not_ready() {
    let mut sender = Sender::new(2, SIZE);
    for place in [2, MAX_PEERS as u16 - 1, MAX_PEERS as u16, 31, HAS_HDR - 1] {
        sender.peers.iter_mut().for_each(|peer| peer.give(1));
        let burst = sender.send(&[0, place, 1]);
        assert_eq!(burst, Burst { status: Status::of_peer(Code::PeerNotReady, place), accepted: vec![0, 2] });
        sender.check();
    }
}

#[test]
fn a_detached_peer_is_not_ready() {
    let mut sender = Sender::new(2, SIZE);
    sender.peers.iter_mut().for_each(|peer| peer.give(1));
    sender.window.detach_peer(0);
    let burst = sender.send(&[0, 1]);
    assert_eq!(burst, Burst { status: Status::of_peer(Code::PeerNotReady, 0), accepted: vec![1] });
    sender.check();
}

#[test]
fn without_packet_memory_nothing_is_sent() {
    let (mut window, peer) = (Window::new(), Peer::new(SIZE));
    assert_eq!(peer.attach(&mut window, 0), Ok(()));
    let burst = Burst::of(transmit(&mut window, Memory::new(&[map::PAGE]).run(0), 1, Words), 1);
    assert_eq!(burst, Burst { status: Status::new(Code::NotRegistered), accepted: vec![] });
}

// What outlives a call.

#[test]
fn recovering_from_a_finished_call_changes_nothing() {
    let mut sender = Sender::new(2, SIZE);
    assert_eq!(sender.window.recover(), Accepted::default());
    sender.peers.iter_mut().for_each(|peer| peer.give(2));
    let burst = sender.transmit(&[0, 1, 1, 1].map(|peer| Packet { offset: 0, len: 60, peer }));
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
    let mut sender = Sender::new(1, SIZE);
    sender.send(&[]);
    sender.send(&[0]);
    sender.send(&[1]);
    sender.call(u64::MAX);
    assert_eq!(sender.window.calls(), 4);
}

// Everything at once.

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Peers 0 and 1 write anything, peer 2 is honest, and the sender asks for anything.
    #[test]
    fn whatever_is_written_only_lawful_packets_arrive(rounds in vec(round(), 1..8)) {
        let mut sender = Sender::new(3, SIZE);
        let packets = read(sender.packets(), 0, PACKETS_LEN);
        for round in rounds {
            play(&mut sender, &round);
            assert_eq!(read(sender.packets(), 0, PACKETS_LEN), packets);
            sender.check();
        }
    }
}

/// What two hostile peers and a hostile sender write before a call.
#[derive(Clone, Debug)]
struct Round {
    rings: [HostileRing; 2],
    packets: Vec<Packet>,
}

#[derive(Clone, Debug)]
struct HostileRing {
    table: Vec<Desc>,
    heads: Vec<u16>,
    /// How far `avail.idx` is ahead.
    ahead: u16,
}

/// One call after both rings are written; whatever comes of it, the books agree.
fn play(sender: &mut Sender, round: &Round) {
    for (place, ring) in round.rings.iter().enumerate() {
        if sender.window.is_quarantined(place as u16) {
            sender.peers[place].restart();
            assert_eq!(sender.peers[place].attach(&mut sender.window, place as u16), Ok(()));
        }
        write_ring(&sender.peers[place], ring);
    }
    let missing = SIZE - sender.peers[2].outstanding();
    sender.peers[2].give(missing);
    let before = [0, 1, 2].map(|place: usize| sender.peers[place].used_idx());
    let burst = sender.transmit(&round.packets);
    let accepted: Vec<_> = burst.accepted.iter().map(|&index| round.packets[index]).collect();
    for (place, before) in before.into_iter().enumerate() {
        let count = accepted.iter().filter(|packet| usize::from(packet.peer) == place).count();
        assert_eq!(usize::from(sender.peers[place].used_idx().wrapping_sub(before)), count);
    }
    assert!(accepted.iter().all(|packet| packet.peer < 3));
    assert!(burst.status.code() != Code::PeerFault || sender.window.is_quarantined(burst.status.peer()));
    assert!(!sender.window.is_quarantined(2));
    check_honest(sender, &accepted);
}

/// Writes all of a hostile ring.
fn write_ring(peer: &Peer, ring: &HostileRing) {
    for (index, desc) in (0..).zip(&ring.table) {
        peer.write_desc(index, *desc);
    }
    let next = peer.used_idx();
    for (index, head) in (0..).zip(&ring.heads) {
        peer.set_avail(next.wrapping_add(index), *head);
    }
    peer.set_avail_idx(next.wrapping_add(ring.ahead));
}

/// The honest peer got what was accepted for it, whole and in order.
fn check_honest(sender: &mut Sender, accepted: &[Packet]) {
    let packets = sender.packets();
    for packet in accepted.iter().filter(|packet| packet.peer == 2) {
        let (_, bytes) = sender.peers[2].take().expect("accepted, so published");
        assert_eq!(bytes, with_header(&read(packets, u64::from(packet.offset), u64::from(packet.len))));
    }
    // What the hostile ones got is theirs to look at.
    sender.peers[..2].iter_mut().for_each(Peer::skip);
}

fn round() -> impl Strategy<Value = Round> {
    (ring(), ring(), vec(packet(), 0..12)).prop_map(|(a, b, packets)| Round { rings: [a, b], packets })
}

fn ring() -> impl Strategy<Value = HostileRing> {
    let ahead = prop_oneof![4 => 0..=SIZE, 1 => any::<u16>()];
    let head = prop_oneof![8 => 0..SIZE, 1 => any::<u16>()];
    (vec(desc(), SIZE as usize), vec(head, SIZE as usize), ahead).prop_map(|(table, heads, ahead)| HostileRing {
        table,
        heads,
        ahead,
    })
}

fn desc() -> impl Strategy<Value = Desc> {
    let lawful = (0..SIZE).prop_map(|index| GPA + BUFFERS + u64::from(index) * u64::from(BUFFER_LEN));
    let near = (-5000i64..5000).prop_map(|off| SECOND_GPA.wrapping_add_signed(off));
    let addr = prop_oneof![6 => lawful, 2 => near, 1 => any::<u64>()];
    let len = prop_oneof![6 => Just(BUFFER_LEN), 3 => 0..100u32, 1 => any::<u32>()];
    let flags = prop_oneof![6 => Just(DescF::WRITE.bits()), 3 => Just(MORE.bits()), 1 => any::<u16>()];
    let next = prop_oneof![8 => 0..SIZE, 1 => any::<u16>()];
    (addr, len, flags, next).prop_map(|(addr, len, flags, next)| Desc { addr: Gpa(addr), len, flags, next })
}

fn packet() -> impl Strategy<Value = Packet> {
    let offset = prop_oneof![8 => 0..100_000u32, 1 => any::<u32>()];
    let len = prop_oneof![4 => Just(64u16), 8 => 1..=LONGEST, 1 => any::<u16>()];
    let peer = prop_oneof![20 => 0..3u16, 1 => any::<u16>()];
    (offset, len, peer).prop_map(|(offset, len, peer)| Packet { offset, len, peer })
}

/// A frame of 260 bytes goes into what `give` makes available.
#[track_caller]
fn arrives(give: impl Fn(&mut Peer)) {
    let mut sender = Sender::new(1, SIZE);
    give(&mut sender.peers[0]);
    assert_eq!(sender.transmit_one(300, 260), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
    // Where the queue goes on, it is as if nothing had been.
    sender.peers[0].give(1);
    assert_eq!(sender.send(&[0]), Burst { status: Status::OK, accepted: vec![0] });
    sender.check();
}

/// One packet arrives; then `lie` makes the ring break `clause`, and the peer is quarantined, while another one goes on.
#[track_caller]
fn blames(clause: Clause, lie: impl Fn(&mut Peer)) {
    let mut sender = Sender::new(2, SIZE);
    sender.peers[0].give(1);
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.check();
    lie(&mut sender.peers[0]);
    sender.peers[1].give(2);
    let burst = sender.send(&[1, 0, 0, 1]);
    assert_eq!(burst, Burst { status: Status::peer_fault(clause, 0), accepted: vec![0, 3] });
    assert_eq!([0, 1].map(|place| sender.window.is_quarantined(place)), [true, false]);
    assert_eq!(sender.send(&[0]), Burst { status: Status::of_peer(Code::PeerNotReady, 0), accepted: vec![] });
    assert_eq!(sender.peers[0].used_idx(), 1);
    sender.check();
}

/// A peer whose directory entry `spoil` changed is not attached, for breaking `clause`.
#[track_caller]
fn refuses(clause: Clause, spoil: impl Fn(&mut directory::Peer)) {
    let mut peer = Peer::new(SIZE);
    spoil(&mut peer.entry);
    assert_eq!(peer.attach(&mut Window::new(), 0), Err(clause));
}

/// A packet of `len` bytes at `offset` is refused, and nobody else is blamed.
#[track_caller]
fn mistaken(offset: u64, len: u16) {
    let mut sender = Sender::new(1, SIZE);
    sender.peers[0].give(1);
    assert_eq!(sender.transmit_one(offset, len), Burst { status: Status::new(Code::BadRequest), accepted: vec![] });
    assert!(!sender.window.is_quarantined(0));
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.check();
}
