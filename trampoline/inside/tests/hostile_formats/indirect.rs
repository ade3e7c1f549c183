//! Tables of descriptors.

use super::*;
use sluice_inside::Dequeue;

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
    for len in [16 * 65, 16 * 0x1000, u32::MAX - 15] {
        blames_table(Clause::ChainLength, &[PLENTY], (GPA + TABLE, len, INDIRECT));
    }
}

#[test]
fn an_indirect_table_outside_the_regions_or_not_aligned_is_blamed() {
    for addr in [0, GPA - 16, GPA + LEN, GPA + LEN - 8, u64::MAX - 15] {
        blames_table(Clause::Region, &[PLENTY], (addr, 16, INDIRECT));
    }
    for off in [1, 4, 7] {
        blames_table(Clause::Indirect, &[PLENTY], (GPA + TABLE + off, 16, INDIRECT));
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
