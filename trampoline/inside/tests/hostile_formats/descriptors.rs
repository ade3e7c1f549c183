//! Buffers outside the regions, for the other direction, too short, or changed during the call.

use super::*;
use sluice_abi::call::HDR;
use sluice_abi::net::HDR_LEN;
use sluice_abi::{PeerIdx, map};
use sluice_inside::{Dequeue, Enqueue};

#[test]
fn in_every_format_an_address_outside_is_blamed() {
    let end = GPA + LEN;
    let window =
        [map::STATE, map::STACK, map::LIST, map::CODE, map::peer_base(PeerIdx(1))].map(|offset| map::SLOT_VA + offset);
    for addr in window.into_iter().chain([0, GPA - 1600, GPA - 1, end - 1500, end, u64::MAX, u64::MAX - 1599]) {
        blames(Clause::Region, &[(addr, 1600, WRITE)]);
        blames(Clause::Region, &[(GPA + BUFFERS, 20, WRITE), (addr, 1600, WRITE)]);
        blames_table(Clause::Region, &[(addr, 1600, WRITE)], (GPA + TABLE, 16, INDIRECT));
        blames_frame(Clause::Region, F::empty(), Hdr::default(), &[(GPA + BUFFERS, 12, 0), (addr, 1600, 0)]);
    }
    blames(Clause::Region, &[(end - 50, u32::MAX, WRITE)]);
}

#[test]
fn in_every_format_a_buffer_for_the_other_direction_is_blamed() {
    blames(Clause::NotWritable, &[(GPA + BUFFERS, 1600, 0)]);
    blames(Clause::NotWritable, &[(GPA + BUFFERS, 20, WRITE), (GPA + BUFFERS + 20, 1600, 0)]);
    blames_table(Clause::NotWritable, &[(GPA + BUFFERS, 1600, 0)], (GPA + TABLE, 16, INDIRECT));
    blames_frame(Clause::NotReadable, F::empty(), Hdr::default(), &[(SENT.0, SENT.1, WRITE)]);
    blames_frame(Clause::NotReadable, F::empty(), Hdr::default(), &[SENT, (GPA + BUFFERS, 100, WRITE)]);
}

#[test]
fn in_every_format_a_chain_too_short_is_blamed() {
    for len in [64, 100] {
        let short = (GPA + BUFFERS, 12 + u32::from(len) - 1, WRITE);
        blames_frames_of(len, &FORMATS, F::MTU, Clause::TooShort, |ring| ring.give(&[short]));
    }
    for len in [0, 1, 11, 12, 13, 70] {
        // The MTU was agreed on, or there is not even room for a header.
        for agreed in [F::MTU, F::empty()].into_iter().take(if len < HDR_LEN { 2 } else { 1 }) {
            blames_in(&FORMATS, agreed, Clause::TooShort, |ring| ring.give(&[(GPA + BUFFERS, len, WRITE)]));
            let pieces = [(GPA + BUFFERS, 0, WRITE), (GPA + BUFFERS, len, WRITE)];
            blames_in(&FORMATS, agreed, Clause::TooShort, |ring| ring.give(&pieces));
        }
    }
    for len in [0, 1, 11, 12] {
        blames_frame(Clause::TooShort, F::empty(), Hdr::default(), &[(GPA + BUFFERS, len, 0)]);
    }
}

/// A driver that did not agree on the MTU owes no buffer of any length: it gets what fits.
#[test]
fn in_every_format_a_lawful_buffer_takes_what_fits_and_is_never_blamed() {
    for (features, len) in FORMATS.into_iter().flat_map(|features| [64, 100].map(|len| (features, len))) {
        let ring = Ring::new(features);
        ring.give(&[(GPA + BUFFERS, HDR_LEN + u32::from(len) - 1, WRITE)]);
        let (mut window, status, accepted, other) = call_for(&ring, len);
        assert_eq!((status, accepted, other), (Status::of_peer(Code::TooLong, PeerIdx(0)), vec![0], 1), "{features:?}");
        assert_eq!((window.is_quarantined(PeerIdx(0)), ring.used()), (false, 0), "{features:?}");
        let fits = Packet::new(0, len - 1, PeerIdx(0));
        assert_eq!(transmit_all(&mut window, &[fits]), (Status::OK, vec![0]), "{features:?}");
        assert_eq!(ring.used(), 1, "{features:?}");
    }
}

#[test]
fn what_the_driver_sends_is_not_written() {
    for features in FORMATS {
        let ring = Ring::new(features);
        ring.give(&[(GPA + BUFFERS, 12, 0), (GPA + BUFFERS + 100, 60, 0)]);
        let before = ring.bytes(BUFFERS, LEN - BUFFERS);
        let (mut queue, regions) = ring.device();
        let room = Memory::new(&[2048]);
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Frame { hdr: Hdr::default(), len: 60 }));
        queue.publish();
        assert_eq!(ring.used(), 1);
        assert!(ring.bytes(BUFFERS, LEN - BUFFERS) == before);
    }
}

#[test]
fn in_every_format_a_descriptor_that_changes_during_the_call_is_checked_as_it_is_used() {
    for (features, len) in FORMATS.into_iter().flat_map(|features| [(features, 16), (features, 64)]) {
        let ring = Ring::new(features);
        let lap = if ring.is_packed() { 0x80 } else { 0 };
        // The first frame is written over the second descriptor.
        ring.desc(0, (GPA + 16 - u64::from(HDR_LEN), 1600, WRITE | lap), 0);
        ring.desc(16, (GPA + BUFFERS, 1600, WRITE | lap), 0);
        ring.write(DRIVER + avail::RING, 0u16);
        ring.write(DRIVER + avail::RING + 2, 1u16);
        ring.write(DRIVER + avail::IDX, if ring.is_packed() { 0u16 } else { 2 });
        let (packets, request) = (Memory::new(&[0x1000]), Memory::new(&[4096]));
        let other = Ring::new(features);
        other.desc(0, (GPA - 1, 1600, WRITE | lap), 0);
        packets.run(0).copy_from_slice(0, &other.bytes(0, len.into())).expect("inside");
        let mut window = Window::new();
        ring.attach(&mut window, PeerIdx(0));
        window.set_packets(packets.run(0));
        for at in 0..2 {
            request.run(0).write(8 * at, Packet::new(0, len, PeerIdx(0))).expect("inside");
        }
        let outcome = transmit(&mut window, request.run(0), 2, Words);
        assert_eq!(
            (outcome.status, outcome.accepted.count()),
            (Status::peer_fault(Clause::Region, PeerIdx(0)).naming(1), 1)
        );
    }
}

/// Sums that are lawful, and offsets that are small, if only 32 bits of them are kept.
#[test]
fn in_every_format_offset_and_length_that_overflow_32_bits_are_blamed() {
    const WHOLE: u64 = 1 << 32;
    let end = LEN - 50;
    let (far, long) = (GPA + WHOLE + BUFFERS, (WHOLE - end + 1600) as u32);
    for piece in [(far, 1600, WRITE), (GPA + end, long, WRITE), (far + WHOLE, u32::MAX, WRITE)] {
        blames(Clause::Region, &[piece]);
        blames(Clause::Region, &[(GPA + BUFFERS, 20, WRITE), piece]);
        blames_table(Clause::Region, &[piece], (GPA + TABLE, 16, INDIRECT));
        blames_frame(Clause::Region, F::empty(), Hdr::default(), &[(GPA + BUFFERS, 12, 0), (piece.0, piece.1, 0)]);
    }
    blames_table(Clause::Region, &[PLENTY], (GPA + WHOLE + TABLE, 16, INDIRECT));
}

/// See: `in_every_format_offset_and_length_that_overflow_32_bits_are_blamed`; these are the sender's.
#[test]
fn in_every_format_a_packet_whose_offset_and_length_overflow_32_bits_is_the_senders_mistake() {
    for features in FORMATS {
        let ring = Ring::new(features);
        let mut window = attached(&[&ring]);
        ring.give_each(SIZE);
        let before = ring.bytes(0, LEN);
        for (offset, len) in [(u32::MAX, 1), (u32::MAX, 100), (u32::MAX - 99, 100), (u32::MAX - 1000, 1100)] {
            for flags in [0, HDR] {
                let done = transmit_all(&mut window, &[Packet { offset, len, peer: PeerIdx(0), flags }]);
                assert_eq!(done, (Status::new(Code::BadRequest), vec![]), "{features:?} {offset:#x} {len}");
            }
        }
        assert!(ring.bytes(0, LEN) == before && !window.is_quarantined(PeerIdx(0)));
        assert_eq!(send(&mut window, &[0]), (Status::OK, vec![0]));
    }
}

/// Nothing is behind the first region but, in the peer's own space, the second.
#[test]
fn in_every_format_a_buffer_over_two_regions_is_blamed() {
    for features in FORMATS {
        let (ring, second) = (Ring::new(features), Memory::new(&[LEN]));
        let regions = [(Gpa(GPA), ring.memory.run(0)), (Gpa(GPA + LEN), second.run(0))];
        let regions = Regions::from_slices(&regions).expect("two regions");
        let frame = Memory::new(&[100]);
        for (at, done) in [(GPA + LEN - 50, Err(Clause::Region)), (GPA + LEN, Ok(Enqueue::Filled))] {
            ring.clear();
            ring.give(&[(at, 1600, WRITE)]);
            let mut queue = DeviceQueue::new(&ring.queue(), &regions).expect("a lawful queue");
            assert_eq!(queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1514, Words), done, "{features:?}");
        }
    }
}
