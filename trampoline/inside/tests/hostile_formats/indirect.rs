//! Tables of descriptors.

use super::*;
use sluice_inside::{Dequeue, Enqueue};

#[test]
fn an_indirect_table_that_was_not_negotiated_is_blamed() {
    for flags in [INDIRECT, INDIRECT | WRITE, INDIRECT | WRITE | NEXT] {
        blames(Clause::NotNegotiated, &[(GPA + TABLE, 16, flags)]);
        blames_frame(Clause::NotNegotiated, F::empty(), Hdr::default(), &[(GPA + TABLE, 16, flags)]);
    }
}

#[test]
fn an_indirect_table_within_a_table_is_blamed() {
    blames_table(Clause::Indirect, &[(GPA + TABLE, 16, INDIRECT)], (GPA + TABLE, 16, INDIRECT));
    blames_table(
        Clause::Indirect,
        &[(GPA + BUFFERS, 5, WRITE), (GPA + TABLE, 16, INDIRECT)],
        (GPA + TABLE, 32, INDIRECT),
    );
}

#[test]
fn an_indirect_table_of_a_length_that_none_has_is_blamed() {
    for len in [0, 1, 15, 17, 24] {
        blames_table(Clause::Indirect, &[PLENTY], (GPA + TABLE, len, INDIRECT));
    }
}

#[test]
fn an_indirect_table_outside_the_regions_is_blamed() {
    for addr in [0, GPA - 16, GPA + LEN, GPA + LEN - 8, u64::MAX - 15] {
        blames_table(Clause::Region, &[PLENTY], (addr, 16, INDIRECT));
    }
    for len in [(LEN - TABLE) as u32 + 16, 1 << 31, u32::MAX - 15] {
        blames_table(Clause::Region, &[PLENTY], (GPA + TABLE, len, INDIRECT));
    }
}

/// See: VIRTIO 2.7.5.3 "Indirect Descriptors", which asks for no alignment.
#[test]
fn an_indirect_table_may_lie_anywhere() {
    for (features, off) in FORMATS.into_iter().flat_map(|features| (0..17).map(move |off| (features, off))) {
        let ring = Ring::new(features | F::INDIRECT_DESC);
        let more = if ring.is_packed() { 0 } else { NEXT };
        ring.desc(TABLE + off, (GPA + BUFFERS, 50, WRITE | more), 1);
        ring.desc(TABLE + off + 16, (GPA + BUFFERS + 50, 1600, WRITE), 0);
        ring.give(&[(GPA + TABLE + off, 32, INDIRECT)]);
        assert_eq!((call(&ring).2, ring.used()), (vec![0, 1], 1), "{features:?} {off}");
    }
}

/// What a driver may put into a table is as long as its queue, whose descriptors are free for others then; the
/// descriptor that refers to the table is none of them. See: VIRTIO 2.7.5.3.1 "Driver Requirements: Indirect
/// Descriptors", 2.8.17 "Driver Requirements: Scatter-Gather Support".
#[test]
fn a_chain_in_a_table_may_be_as_long_as_the_queue_and_no_longer() {
    let pieces = |count: u16| Vec::from_iter((0..count).map(|at| (GPA + BUFFERS + 20 * u64::from(at), 20, WRITE)));
    for (features, count) in FORMATS.into_iter().flat_map(|features| (1..=SIZE).map(move |count| (features, count))) {
        let ring = Ring::new(features | F::INDIRECT_DESC);
        ring.table(&pieces(count));
        ring.give(&[(GPA + TABLE, 16 * u32::from(count), INDIRECT)]);
        let (mut queue, regions) = ring.device();
        let frame = Memory::new(&[20 * u64::from(count) - 12]);
        let done = queue.enqueue(&regions, &Hdr::default(), frame.run(0), 1, Words);
        assert_eq!(done, Ok(Enqueue::Filled), "{features:?} {count}");
    }
    for count in [SIZE + 1, 16, 64, 65] {
        for len in [150, 200] {
            blames_frames_of(len, &FORMATS, F::INDIRECT_DESC, Clause::ChainLength, |ring| {
                ring.table(&pieces(count));
                ring.give(&[(GPA + TABLE, 16 * u32::from(count), INDIRECT)]);
            });
        }
        // A packed table says by its length how long its chain is, whatever the frame takes of it.
        blames_in(&FORMATS[2..], F::INDIRECT_DESC, Clause::ChainLength, |ring| {
            ring.table(&pieces(count));
            ring.give(&[(GPA + TABLE, 16 * u32::from(count), INDIRECT)]);
        });
    }
}

/// The same of what is sent, and with descriptors before the table.
#[test]
fn a_sent_chain_in_a_table_may_be_as_long_as_the_queue_and_no_longer() {
    for (features, direct) in FORMATS.into_iter().flat_map(|features| (0..4u16).map(move |direct| (features, direct))) {
        for (count, lawful) in [(SIZE - direct, true), (SIZE - direct + 1, false)] {
            let ring = Ring::new(features | F::INDIRECT_DESC);
            let piece = |at: u16| (GPA + BUFFERS + 20 * u64::from(at), 20, 0);
            ring.table(&Vec::from_iter((direct..direct + count).map(piece)));
            let table = (GPA + TABLE, 16 * u32::from(count), INDIRECT);
            ring.give(&Vec::from_iter((0..direct).map(piece).chain([table])));
            let (mut queue, regions) = ring.device();
            let (room, len) = (Memory::new(&[2048]), u32::from(SIZE) * 20 - 12);
            let expected =
                if lawful { Ok(Dequeue::Frame { hdr: Hdr::default(), len }) } else { Err(Clause::ChainLength) };
            assert_eq!(queue.dequeue(&regions, room.run(0), Words), expected, "{features:?} {direct}");
        }
    }
}

/// In a split ring `next` says which entries of the table are the chain's, not the table's length.
#[test]
fn a_split_table_may_have_more_entries_than_its_chain() {
    const FAR: u64 = TABLE + 0x1000;
    for features in &FORMATS[..2] {
        for entries in [2, 64, 65, 0x1000, (LEN - FAR) as u32 / 16] {
            for last in [1, entries - 1] {
                let ring = Ring::new(*features | F::INDIRECT_DESC);
                ring.desc(FAR, (GPA + BUFFERS, 50, WRITE | NEXT), last as u16);
                ring.desc(FAR + 16 * u64::from(last), (GPA + TABLE, 100, WRITE), 0);
                ring.give(&[(GPA + FAR, 16 * entries, INDIRECT)]);
                assert_eq!((call(&ring).2, ring.used()), (vec![0, 1], 1), "{features:?} {entries} {last}");
            }
        }
    }
}

#[test]
fn an_indirect_descriptor_with_next_is_blamed() {
    blames_table(Clause::Indirect, &[PLENTY], (GPA + TABLE, 16, INDIRECT | NEXT));
}

#[test]
fn an_indirect_table_that_loops_or_leads_out_of_itself_is_blamed() {
    for next in [0, 1] {
        blames_in(&FORMATS[..2], F::INDIRECT_DESC, Clause::ChainLength, |ring| {
            ring.desc(TABLE, (GPA + BUFFERS, 1, WRITE | NEXT), next);
            ring.desc(TABLE + 16, (GPA + BUFFERS, 1, WRITE | NEXT), 0);
            ring.give(&[(GPA + TABLE, 32, INDIRECT)]);
        });
    }
    blames_in(&FORMATS[..2], F::INDIRECT_DESC, Clause::DescIndex, |ring| {
        ring.desc(TABLE, (GPA + BUFFERS, 1, WRITE | NEXT), 1);
        ring.give(&[(GPA + TABLE, 16, INDIRECT)]);
    });
}

#[test]
fn the_write_flag_of_an_indirect_descriptor_is_ignored() {
    for features in FORMATS {
        let ring = Ring::new(features | F::INDIRECT_DESC);
        ring.table(&[PLENTY]);
        ring.give(&[(GPA + TABLE, 16, INDIRECT | WRITE)]);
        assert_eq!((call(&ring).2, ring.used()), (vec![0, 1], 1));
        let ring = Ring::new(features | F::INDIRECT_DESC);
        ring.table(&[SENT]);
        ring.give(&[(GPA + TABLE, 16, INDIRECT | WRITE)]);
        let (mut queue, regions) = ring.device();
        let room = Memory::new(&[2048]);
        assert_eq!(queue.dequeue(&regions, room.run(0), Words), Ok(Dequeue::Frame { hdr: Hdr::default(), len: 60 }));
    }
}

#[test]
fn direct_descriptors_may_precede_an_indirect_one() {
    for features in FORMATS {
        let ring = Ring::new(features | F::INDIRECT_DESC);
        ring.table(&[PLENTY]);
        ring.give(&[(GPA + BUFFERS, 5, WRITE), (GPA + BUFFERS + 5, 20, WRITE), (GPA + TABLE, 16, INDIRECT)]);
        assert_eq!((call(&ring).2, ring.used()), (vec![0, 1], 1));
    }
}

#[test]
fn no_descriptor_of_a_split_table_is_written() {
    for features in &FORMATS[..2] {
        let ring = Ring::new(*features | F::INDIRECT_DESC);
        ring.table(&[PLENTY]);
        ring.give(&[(GPA + BUFFERS, 5, WRITE), (GPA + TABLE, 16, INDIRECT)]);
        let before = [ring.bytes(0, 128), ring.bytes(DRIVER, 0x100), ring.bytes(TABLE, 0x100)];
        assert_eq!(call(&ring).2, [0, 1]);
        assert!(before == [ring.bytes(0, 128), ring.bytes(DRIVER, 0x100), ring.bytes(TABLE, 0x100)]);
    }
}
