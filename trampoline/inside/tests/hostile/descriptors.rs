//! Descriptors that lead nowhere, or chains that are none.

use super::*;
use sluice_abi::call::Packet;
use sluice_abi::virtq::Desc;
use sluice_abi::{Gpa, PeerIdx, map};

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
        let mut sender = WindowSender::new(1, 128);
        let pieces: Vec<_> = (0..len).map(|index| (GPA + BUFFERS + 2 * u64::from(index), 2)).collect();
        sender.peers[0].give_chain(&pieces, DescF::WRITE, 0);
        let burst = sender.transmit_one(0, 2 * len - HEADER.len() as u16);
        sender.check();
        burst.status
    };
    assert_eq!(chain(64), Status::OK);
    assert_eq!(chain(65), Status::peer_fault(Clause::ChainLength, PeerIdx(0)));
    assert_eq!(chain(128), Status::peer_fault(Clause::ChainLength, PeerIdx(0)));
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
    let window =
        [map::STATE, map::STACK, map::LIST, map::CODE, map::peer_base(PeerIdx(0))].map(|offset| map::SLOT_VA + offset);
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
    blames(Clause::TooShort, |peer| peer.give_buffer((peer.buffer(0), HDR_LEN + 63), DescF::WRITE));
    blames(Clause::TooShort, |peer| peer.give_chain(&[(peer.buffer(0), 12), (peer.buffer(1), 59)], DescF::WRITE, 0));
}

#[test]
fn a_buffer_one_byte_shorter_than_it_must_be_is_blamed() {
    let mut sender = WindowSender::new(1, SIZE);
    let len = HDR_LEN + u32::from(OWED) - 1;
    sender.peers[0].give_buffer((GPA + BUFFERS, len), DescF::WRITE);
    assert_eq!(sender.transmit_one(0, OWED).status, Status::peer_fault(Clause::TooShort, PeerIdx(0)));
    sender.check();
}

/// The first frame is written over descriptor 7, which the second packet's buffer has.
#[test]
fn a_descriptor_that_changes_during_the_call_is_checked_as_it_is_used() {
    // None of the loops, the one for all lengths, the one for 64 bytes.
    for len in [16, 32, 64, 100] {
        let mut sender = WindowSender::new(1, SIZE);
        let peer = &mut sender.peers[0];
        peer.describe(0, (GPA + TABLE + 7 * 16 - u64::from(HDR_LEN), BUFFER_LEN), DescF::WRITE, 0);
        peer.describe(7, (peer.buffer(7), BUFFER_LEN), DescF::WRITE, 0);
        peer.offer(0);
        peer.offer(7);
        let desc = Desc { addr: Gpa(GPA - 1), len: BUFFER_LEN, flags: DescF::WRITE.bits(), next: 0 };
        sender.packets().write(0, desc).expect("inside");
        let burst = sender.transmit(&[Packet::new(0, len, PeerIdx(0)); 2]);
        assert_eq!(burst, Burst { status: Status::peer_fault(Clause::Region, PeerIdx(0)), accepted: vec![0] }, "{len}");
        assert_eq!(sender.peers[0].used_idx(), 1);
    }
}
