//! What a writer leaves, and what it makes of what another one left.

use super::*;
use crate::{Lost, ReadError, Reader, format, memory_len};
use proptest::prelude::*;
use sluice_abi::channel::{POSITIONS, RING, word};
use sluice_test_memory::zeroed;

const CAPACITY: u64 = 4096;

fn channel() -> PeerSlice<'static> {
    let memory = zeroed(memory_len(CAPACITY));
    format(memory, Kind::PACKETS, CAPACITY).unwrap();
    memory
}

/// Record `number`, whose length and bytes follow from it.
fn record(number: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number as usize * 31 + at * 7) as u8).collect()
}

#[test]
fn the_longest_record_is_written_and_none_that_is_longer() {
    let memory = channel();
    let (mut writer, mut reader) = (Writer::open(memory).unwrap(), Reader::open(memory).unwrap());
    let most = writer.max_len();
    let (longest, long) = (record(7, most as usize), record(7, most as usize + 1));
    let refused = writer.write_burst([&longest[..], &long, b"unwritten"]);
    assert_eq!(refused, Err(WriteError::TooLong { index: 1, len: long.len(), most }));
    let mut bytes = [0; CAPACITY as usize];
    assert_eq!(reader.read(&mut bytes), Ok(Some(longest.len())));
    assert_eq!(bytes[..longest.len()], longest);
    assert_eq!(reader.read(&mut bytes), Ok(None));
}

#[test]
fn nothing_of_a_burst_is_there_before_all_of_it_is() {
    let memory = channel();
    let (mut writer, mut reader) = (Writer::open(memory).unwrap(), Reader::open(memory).unwrap());
    let mut bytes = [0; 64];
    let burst = (0..8).map(|_| {
        assert_eq!(reader.read(&mut bytes), Ok(None));
        &b"record"[..]
    });
    writer.write_burst(burst).unwrap();
    assert_eq!((0..9).filter(|_| reader.read(&mut bytes) == Ok(Some(6))).count(), 8);
}

#[test]
fn a_burst_longer_than_the_ring_is_written_all_the_same() {
    let memory = channel();
    let (mut writer, mut reader) = (Writer::open(memory).unwrap(), Reader::open(memory).unwrap());
    let records: Vec<_> = (0..1000).map(|number| record(number, 100)).collect();
    writer.write_burst(records.iter().map(Vec::as_slice)).unwrap();
    let mut bytes = [0; 128];
    let Err(ReadError::Overrun(Lost { records: lost, .. })) = reader.read(&mut bytes) else { panic!("none lost") };
    for record in &records[lost as usize..] {
        assert_eq!(reader.read(&mut bytes), Ok(Some(100)));
        assert_eq!(bytes[..100], record[..]);
    }
    assert_eq!(reader.read(&mut bytes), Ok(None));
}

#[test]
fn a_writer_that_follows_another_goes_on_behind_what_is_published() {
    let memory = channel();
    let mut reader = Reader::open(memory).unwrap();
    let mut bytes = [0; 64];
    Writer::open(memory).unwrap().write(b"first").unwrap();
    // The other one wrote something that it did not publish.
    memory.write(RING + 32, [0xffu8; 64]).unwrap();
    Writer::open(memory).unwrap().write(b"next").unwrap();
    assert_eq!(reader.read(&mut bytes), Ok(Some(5)));
    assert_eq!(reader.read(&mut bytes), Err(ReadError::NewWriter { generation: 2 }));
    assert_eq!(reader.read(&mut bytes), Ok(Some(4)));
    assert_eq!((&bytes[..4], reader.read(&mut bytes.clone())), (&b"next"[..], Ok(None)));
    assert_eq!(Reader::open(memory).unwrap().read(&mut bytes), Ok(Some(5)));
}

#[test]
fn a_writer_does_not_follow_nonsense() {
    let set = |word: usize, value: u64| (POSITIONS + 8 * word as u64, value);
    let cases = [
        set(word::PUBLISHED, 2 * CAPACITY),
        set(word::PUBLISHED, 24),
        set(word::PUBLISHED, u64::MAX - 15),
        set(word::OLDEST, 64),
        set(word::OLDEST, 8),
        // Kind and length, and number, of the first record; and of the second one.
        (RING, 9 << 32 | 5),
        (RING, 1 << 32 | 4000),
        (RING + 32, 1 << 32 | 30),
        (RING + 40, 7),
    ];
    for (at, value) in cases {
        let memory = channel();
        Writer::open(memory).unwrap().write_burst([&b"12345"[..], b"6"]).unwrap();
        memory.write(at, value).unwrap();
        assert!(matches!(Writer::open(memory), Err(ChannelError::Fault(_))), "{value:#x} at {at:#x}");
    }
}

#[test]
fn a_writer_says_who_else_writes() {
    let memory = channel();
    let mut writer = Writer::open(memory).unwrap();
    writer.write(&[1; 48]).unwrap();
    memory.write(RING, 0u64).unwrap();
    let fault = Fault::Record { at: 0, kind: 0, len: 0 };
    let refused = (0..100).find_map(|_| writer.write(&[1; 48]).err());
    assert_eq!(refused, Some(WriteError::Fault(fault)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Records of any lengths, in bursts of any lengths, wherever in the ring they begin.
    #[cfg_attr(miri, ignore = "Miri has an internal error where bytes of the ring are words again")]
    #[test]
    fn what_is_read_is_what_was_written_at_every_offset(
        start in 0u64..CAPACITY / 16,
        lens in prop::collection::vec(prop::collection::vec(0usize..1008, 1..4), 1..24),
    ) {
        let memory = channel();
        let mut writer = Writer::open(memory).unwrap();
        (0..start).try_for_each(|_| writer.write(&[])).unwrap();
        let mut reader = Reader::open(memory).unwrap();
        let mut bytes = vec![0; CAPACITY as usize];
        let mut lens_read = [0; 300];
        while reader.read_burst(&mut bytes, &mut lens_read).unwrap() > 0 {}
        for burst in lens {
            // No burst is longer than what stays whole.
            let records: Vec<_> = burst.iter().enumerate().map(|(at, len)| record(at as u64, len % 600)).collect();
            writer.write_burst(records.iter().map(Vec::as_slice)).unwrap();
            let count = reader.read_burst(&mut bytes, &mut lens_read).unwrap();
            let lens: Vec<_> = records.iter().map(Vec::len).collect();
            prop_assert_eq!(&lens_read[..count], &lens);
            let all = records.concat();
            prop_assert_eq!(&bytes[..all.len()], &all);
        }
    }
}
