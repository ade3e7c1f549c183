//! What a reader gets, loses and refuses.

use super::*;
use crate::{Writer, format, memory_len};
use proptest::prelude::*;
use sluice_abi::channel::{POSITIONS, RING, word};
use sluice_test_memory::zeroed;

const CAPACITY: u64 = 4096;

fn channel() -> (PeerSlice<'static>, Writer<'static>, Reader<'static>) {
    let memory = zeroed(memory_len(CAPACITY));
    format(memory, Kind::PACKETS, CAPACITY).unwrap();
    (memory, Writer::open(memory).unwrap(), Reader::open(memory).unwrap())
}

fn set(memory: PeerSlice<'_>, word: usize, value: u64) {
    memory.write(POSITIONS + 8 * word as u64, value).unwrap();
}

#[test]
fn a_record_that_does_not_fit_stays_the_next_one() {
    let (_, mut writer, mut reader) = channel();
    writer.write_burst([&[1; 10][..], &[2; 30]]).unwrap();
    let (mut bytes, mut lens) = ([0; 39], [0; 2]);
    assert_eq!(reader.read(&mut bytes[..9]), Err(ReadError::Buffer { needed: 10, len: 9 }));
    assert_eq!(reader.read_burst(&mut bytes, &mut []), Ok(0));
    assert_eq!((reader.read_burst(&mut bytes, &mut lens), lens[0]), (Ok(1), 10));
    assert_eq!(reader.read(&mut bytes[..29]), Err(ReadError::Buffer { needed: 30, len: 29 }));
    assert_eq!((reader.read(&mut bytes[..30]), &bytes[..30]), (Ok(Some(30)), &[2; 30][..]));
}

#[test]
fn many_readers_read_the_same() {
    let (memory, mut writer, mut reader) = channel();
    let mut other = Reader::open(memory).unwrap();
    writer.write(b"all").unwrap();
    for reader in [&mut reader, &mut other] {
        let mut bytes = [0; 3];
        assert_eq!((reader.read(&mut bytes), &bytes), (Ok(Some(3)), b"all"));
    }
}

#[test]
fn an_overrun_is_told_to_the_record_and_byte() {
    let (_, mut writer, mut reader) = channel();
    let mut bytes = [0; 8];
    // Records of 32 bytes: 128 of them in the ring, 8 of which are given up at once.
    (0..130u64).try_for_each(|number| writer.write(&number.to_le_bytes())).unwrap();
    assert_eq!(reader.read(&mut bytes), Err(ReadError::Overrun(Lost { records: 9, bytes: 9 * 32 })));
    for number in 9..130u64 {
        assert_eq!((reader.read(&mut bytes), bytes), (Ok(Some(8)), number.to_le_bytes()));
    }
    assert_eq!(reader.read(&mut bytes), Ok(None));
}

#[test]
fn an_overrun_within_a_burst_takes_the_burst_with_it() {
    let (memory, mut writer, mut reader) = channel();
    (0..100u64).try_for_each(|number| writer.write(&number.to_le_bytes())).unwrap();
    // The writer gives up two records while the reader copies.
    set(memory, word::OLDEST, 64);
    let (mut bytes, mut lens) = ([0; 800], [0; 100]);
    assert_eq!(reader.read_burst(&mut bytes, &mut lens), Err(ReadError::Overrun(Lost { records: 2, bytes: 64 })));
    assert_eq!(reader.read_burst(&mut bytes, &mut lens), Ok(98));
    assert_eq!(bytes[..8], 2u64.to_le_bytes());
}

#[test]
fn nonsense_is_named_with_its_place() {
    let record = |kind: u32, len: u32| Fault::Record { at: 0, kind, len };
    let cases = [
        (RING, 7u64 << 32 | 8, record(7, 8)),
        (RING, 1 << 32 | 0xffff_ffff, record(1, 0xffff_ffff)),
        (RING, 1 << 32 | 17, record(1, 17)),
        (RING, 2 << 32 | 8, record(2, 8)),
        (RING + 8, 5, Fault::Number { at: 0, found: 5, expected: 0 }),
        (POSITIONS, u64::MAX, Fault::Positions { at: 0, oldest: 0, published: u64::MAX }),
        (POSITIONS, CAPACITY + 32, Fault::Positions { at: 0, oldest: 0, published: CAPACITY + 32 }),
        (POSITIONS, 24, record(1, 8)),
    ];
    for (at, value, fault) in cases {
        let (memory, mut writer, mut reader) = channel();
        writer.write(b"12345678").unwrap();
        memory.write(at, value).unwrap();
        for _ in 0..2 {
            assert_eq!(reader.read(&mut [0; 64]), Err(ReadError::Fault(fault)));
        }
    }
}

#[test]
fn positions_that_fit_no_ring_are_no_overrun() {
    for (oldest, published) in
        [(64, 32), (32, 32), (8, 32), (0, CAPACITY + 16), (u64::MAX, 32), (u64::MAX - 15, 32), (1 << 62, 1 << 62 | 32)]
    {
        let (memory, mut writer, mut reader) = channel();
        writer.write(b"12345678").unwrap();
        set(memory, word::OLDEST, oldest);
        set(memory, word::PUBLISHED, published);
        assert!(matches!(reader.read(&mut [0; 64]), Err(ReadError::Fault(Fault::Positions { .. }))), "{oldest:#x}");
        assert!(Reader::open(memory).is_err(), "{oldest:#x} {published:#x}");
    }
}

#[test]
fn more_records_than_bytes_can_be_are_not_lost() {
    let (memory, mut writer, mut reader) = channel();
    writer.write_burst([&[1; 16][..], &[2; 16]]).unwrap();
    memory.write(RING + 32 + 8, 1u64 << 40).unwrap();
    set(memory, word::OLDEST, 32);
    let fault = Fault::Number { at: 32, found: 1 << 40, expected: 0 };
    assert_eq!(reader.read(&mut [0; 64]), Err(ReadError::Fault(fault)));
}

/// A word of the ring: a number, kind and length, or anything.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..3, 0x1_0000_0000u64..0x3_0000_0400, any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What a reader gets, and what it is told that it lost, is all that was written, however far it stays behind.
    #[cfg_attr(miri, ignore = "Miri has an internal error where bytes of the ring are words again")]
    #[test]
    fn what_is_read_and_what_is_lost_is_everything(
        steps in prop::collection::vec((0usize..120, 0usize..300, 0usize..40), 1..30),
    ) {
        let (_, mut writer, mut reader) = channel();
        let (mut written, mut next, mut bytes) = (0u64, 0u64, [0; 512]);
        for (count, len, reads) in steps {
            for _ in 0..count {
                let mut record = vec![written as u8; 8 + (len + written as usize) % 300];
                record[..8].copy_from_slice(&written.to_le_bytes());
                writer.write(&record).unwrap();
                written += 1;
            }
            for _ in 0..reads {
                match reader.read(&mut bytes) {
                    Ok(Some(len)) => {
                        prop_assert_eq!(&bytes[..8], &next.to_le_bytes());
                        prop_assert!(bytes[8..len].iter().all(|byte| *byte == next as u8));
                        next += 1;
                    }
                    Ok(None) => prop_assert_eq!(next, written),
                    Err(ReadError::Overrun(lost)) => next += lost.records,
                    Err(error) => prop_assert!(false, "{}", error),
                }
            }
        }
    }

    /// Whatever is in the memory, nothing panics, and a read has an end.
    #[cfg_attr(miri, ignore = "Miri has an internal error where bytes of the ring are words again")]
    #[test]
    fn any_words_are_read_or_refused(
        positions in prop::array::uniform4(prop_oneof![0u64..2 * CAPACITY, any::<u64>()]),
        words in prop::collection::vec((0u64..CAPACITY / 8, word()), 0..64),
    ) {
        let (memory, mut writer, mut reader) = channel();
        (0..60).try_for_each(|_| writer.write(&[7; 40])).unwrap();
        words.iter().for_each(|(at, word)| memory.write(RING + 8 * at, *word).unwrap());
        (0..).zip(positions).for_each(|(index, position)| set(memory, index, position));
        let (mut bytes, mut lens) = ([0; 4096], [0; 32]);
        for _ in 0..100 {
            let _ = reader.read_burst(&mut bytes, &mut lens);
            let _ = writer.write(&[1; 100]);
        }
        let _ = Reader::open(memory);
        let _ = Writer::open(memory);
    }
}
