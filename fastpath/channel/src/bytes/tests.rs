//! Streams of bytes.

use super::*;
use crate::{format, memory_len};
use proptest::prelude::*;
use sluice_abi::channel::{POSITIONS, word};
use sluice_test_memory::zeroed;

const CAPACITY: u64 = 4096;

fn channel() -> (PeerSlice<'static>, ByteWriter<'static>, ByteReader<'static>) {
    let memory = zeroed(memory_len(CAPACITY));
    format(memory, Kind::BYTES, CAPACITY).unwrap();
    (memory, ByteWriter::open(memory).unwrap(), ByteReader::open(memory).unwrap())
}

/// The byte at position `at` of every stream.
fn byte(at: u64) -> u8 {
    (at ^ at >> 8).wrapping_mul(37) as u8
}

fn stream(from: u64, len: usize) -> Vec<u8> {
    (from..).take(len).map(byte).collect()
}

#[test]
fn a_stream_arrives_as_it_was_written_over_the_end_of_the_ring() {
    let (_, mut writer, mut reader) = channel();
    let (mut written, mut read, mut bytes) = (0, 0, [0; 700]);
    while written < 5 * CAPACITY {
        writer.write(&stream(written, 1234));
        written += 1234;
        while read < written {
            let len = reader.read(&mut bytes).unwrap();
            assert_eq!(bytes[..len], stream(read, len));
            read += len as u64;
        }
        assert_eq!(reader.read(&mut bytes), Ok(0));
    }
}

#[test]
fn an_overrun_is_told_to_the_byte() {
    let (_, mut writer, mut reader) = channel();
    writer.write(&stream(0, 3 * CAPACITY as usize + 5));
    let bytes = 2 * CAPACITY + 5;
    let mut all = [0; CAPACITY as usize + 1];
    assert_eq!(reader.read(&mut all), Err(ReadError::Overrun(Lost { records: 0, bytes })));
    assert_eq!(reader.read(&mut all), Ok(CAPACITY as usize));
    assert_eq!(all[..CAPACITY as usize], stream(bytes, CAPACITY as usize));
}

#[test]
fn another_writers_bytes_begin_where_the_reader_is_told() {
    let (memory, mut writer, mut reader) = channel();
    writer.write(b"one");
    ByteWriter::open(memory).unwrap().write(b"two");
    let mut bytes = [0; 16];
    assert_eq!((reader.read(&mut bytes), &bytes[..3]), (Ok(3), &b"one"[..]));
    assert_eq!(reader.read(&mut bytes), Err(ReadError::NewWriter { generation: 2 }));
    assert_eq!((reader.read(&mut bytes), &bytes[..3]), (Ok(3), &b"two"[..]));
}

#[test]
fn positions_that_fit_no_ring_are_refused() {
    for (oldest, published) in [(0, CAPACITY + 1), (9, 8), (0, u64::MAX), (u64::MAX, 0)] {
        let (memory, mut writer, mut reader) = channel();
        writer.write(b"12345678");
        memory.write(POSITIONS + 8 * word::OLDEST as u64, oldest).unwrap();
        memory.write(POSITIONS + 8 * word::PUBLISHED as u64, published).unwrap();
        let read = (0..2).map(|_| reader.read(&mut [0; 64])).next_back();
        let refused = matches!(read, Some(Err(ReadError::Fault(Fault::Positions { .. }))));
        assert!(refused, "{oldest} {published} {read:?}");
        assert!(ByteReader::open(memory).is_err(), "{oldest} {published}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What a reader gets, and what it is told that it lost, is all that was written.
    #[cfg_attr(miri, ignore = "Miri has an internal error where bytes of the ring are words again")]
    #[test]
    fn what_is_read_and_what_is_lost_is_everything(
        steps in prop::collection::vec((0usize..6000, 0usize..4000), 1..30),
    ) {
        let (_, mut writer, mut reader) = channel();
        let (mut written, mut next, mut bytes) = (0u64, 0u64, vec![0; 4000]);
        for (count, most) in steps {
            writer.write(&stream(written, count));
            written += count as u64;
            match reader.read(&mut bytes[..most]) {
                Ok(len) => {
                    prop_assert_eq!(&bytes[..len], &stream(next, len));
                    next += len as u64;
                }
                Err(ReadError::Overrun(lost)) => {
                    next += lost.bytes;
                    prop_assert_eq!(next, written - CAPACITY);
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }

    /// Whatever the positions are, nothing panics.
    #[cfg_attr(miri, ignore = "Miri has an internal error where bytes of the ring are words again")]
    #[test]
    fn any_positions_are_read_or_refused(
        positions in prop::array::uniform4(prop_oneof![0u64..2 * CAPACITY, any::<u64>()]),
    ) {
        let (memory, mut writer, mut reader) = channel();
        (0..).zip(positions).for_each(|(at, position)| memory.write(POSITIONS + 8 * at, position).unwrap());
        let mut bytes = [0; 4096];
        for _ in 0..3 {
            let _ = reader.read(&mut bytes);
            writer.write(&[7; 3000]);
            let _ = ByteReader::open(memory).map(|mut reader| reader.read(&mut bytes));
        }
        let _ = ByteWriter::open(memory).map(|mut writer| writer.write(&[7; 5000]));
    }
}
