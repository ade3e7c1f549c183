//! Directory entries that name no peer, no memory or no queue.

use super::*;
use sluice_abi::directory::{MAX_PEERS, MAX_REGIONS};
use sluice_abi::{Gpa, PeerIdx, directory, map, net};
use sluice_inside::{Slot, Window};
use sluice_test_memory::reserved;

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
        refuses(Clause::Layout, |entry| entry.regions[index].slot_offset = map::SLOT_LEN);
        refuses(Clause::Layout, |entry| entry.regions[index].slot_offset = u64::MAX);
        refuses(Clause::Layout, |entry| entry.regions[index].len = u64::MAX);
        refuses(Clause::Layout, |entry| entry.regions[index].gpa = Gpa(u64::MAX - map::PAGE));
    }
}

#[test]
fn a_region_too_near_to_the_next_peer_is_refused() {
    let last = map::PEER_STRIDE - map::SPECULATION_REACH;
    refuses(Clause::Layout, |entry| entry.regions[0].slot_offset = last + map::PAGE);
    refuses(Clause::Layout, |entry| entry.regions[0].slot_offset = map::peer_base(PeerIdx(1)) - map::PAGE);
}

/// Behind the end of each region lies what a descriptor's index may reach speculatively, be the region as long as it
/// may.
#[test]
fn a_region_that_ends_too_near_to_the_next_peer_is_refused() {
    let longest = map::PEER_STRIDE - map::INDEX_REACH;
    refuses(Clause::Layout, |entry| (entry.regions[0].slot_offset, entry.regions[0].len) = (0, longest + map::PAGE));
    refuses(Clause::Layout, |entry| entry.regions[1].slot_offset = longest + map::PAGE - entry.regions[1].len);
}

#[test]
fn a_place_that_is_none_is_refused() {
    let peer = Peer::new(SIZE);
    assert_eq!(peer.attach(&mut Window::new(), PeerIdx(MAX_PEERS as u8)), Err(Clause::Layout));
    assert_eq!(peer.attach(&mut Window::new(), PeerIdx(u8::MAX)), Err(Clause::Layout));
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
    let mut sender = WindowSender::new(1, SIZE);
    sender.peers[0].give(1);
    let mut other = Peer::new(SIZE);
    other.entry.queues[0].size = 7;
    assert_eq!(other.attach(&mut sender.window, PeerIdx(0)), Err(Clause::Layout));
    assert_eq!(sender.send(&[0]).accepted, [0]);
    sender.check();
}

thread_local! {
    /// A slot as long as a window's, with nothing behind it: to attach a peer touches none of its memory.
    static SLOT: Slot = Slot::of(reserved(map::SLOT_LEN));
}

/// A peer that can be attached is not attached once `spoil` has changed its directory entry, for breaking `clause`.
#[track_caller]
fn refuses(clause: Clause, spoil: impl Fn(&mut directory::Peer)) {
    let mut entry = Peer::new(SIZE).entry;
    let attach = |entry: &_| Window::new().attach_peer(PeerIdx(0), entry, SLOT.with(|slot| *slot));
    assert_eq!(attach(&entry), Ok(()));
    spoil(&mut entry);
    assert_eq!(attach(&entry), Err(clause));
}
