//! What is no channel.

use super::*;
use sluice_test_memory::zeroed;

const CAPACITY: u64 = MIN_CAPACITY;

fn channel() -> PeerSlice<'static> {
    let memory = zeroed(memory_len(CAPACITY));
    format(memory, Kind::PACKETS, CAPACITY).unwrap();
    memory
}

fn refused(at: usize, word: u64) -> ChannelError {
    let memory = channel();
    memory.write(at as u64, word).unwrap();
    Channel::open(memory, Kind::PACKETS).unwrap_err()
}

#[test]
fn what_was_made_is_opened_as_what_it_is() {
    let memory = channel();
    assert_eq!(Channel::open(memory, Kind::PACKETS).unwrap().capacity(), CAPACITY);
    let (found, wanted) = (Kind::PACKETS.0, Kind::BYTES);
    assert_eq!(Channel::open(memory, wanted).unwrap_err(), ChannelError::Kind { found, wanted });
}

#[test]
fn a_header_that_says_something_else_is_refused() {
    assert_eq!(refused(0, 5), ChannelError::Magic(5));
    assert_eq!(refused(8, u64::from(Kind::PACKETS.0) << 32 | 7), ChannelError::Version(7));
    for capacity in [0, CAPACITY - 1, CAPACITY + 1, 3 * CAPACITY, CAPACITY / 2, 2 * MAX_CAPACITY, u64::MAX] {
        assert_eq!(refused(16, capacity), ChannelError::Capacity(capacity));
        assert_eq!(format(channel(), Kind::BYTES, capacity), Err(ChannelError::Capacity(capacity)));
    }
}

#[test]
fn memory_that_is_too_short_or_not_aligned_is_refused() {
    let (memory, needed) = (channel(), memory_len(CAPACITY));
    let open = |from, len| Channel::open(memory.sub(from, len).unwrap(), Kind::PACKETS).map(drop);
    assert_eq!(open(0, needed - 1), Err(ChannelError::Short { len: needed - 1, needed }));
    assert_eq!(open(0, 63), Err(ChannelError::Short { len: 63, needed }));
    assert_eq!(refused(16, 2 * CAPACITY), ChannelError::Short { len: needed, needed: needed + CAPACITY });
    for odd in [4, 8] {
        let odd = zeroed(needed + odd).sub(odd, needed).unwrap();
        format(odd, Kind::PACKETS, CAPACITY).unwrap();
        assert_eq!(Channel::open(odd, Kind::PACKETS).map(drop), Err(ChannelError::Alignment));
    }
}

/// Writes the words of a record at offset `at`, and returns what is found there by a reader who may read to `end`.
fn found(at: u64, end: u64, kind: u32, len: u32) -> Option<u32> {
    let channel = Channel::open(channel(), Kind::PACKETS).unwrap();
    channel.ring.write(at, u64::from(kind) << 32 | u64::from(len)).unwrap();
    match channel.record(at, end) {
        Ok((record, _)) => Some(record.len),
        Err(fault) => {
            assert_eq!(fault, Fault::Record { at, kind, len });
            None
        }
    }
}

#[test]
fn a_record_lies_within_the_ring_and_within_what_is_published() {
    let longest = max_len(CAPACITY) as u32;
    for (len, fits) in [(0, true), (1, true), (longest, true), (longest + 1, false), (u32::MAX, false)] {
        assert_eq!(found(0, CAPACITY, Record::DATA, len), fits.then_some(len));
    }
    // Before the end of the ring, and of what is published.
    for (len, fits) in [(0, true), (16, true), (17, false)] {
        assert_eq!(found(CAPACITY - 32, CAPACITY + 64, Record::DATA, len), fits.then_some(len));
        assert_eq!(found(64, 96, Record::DATA, len), fits.then_some(len));
    }
    // Padding ends where the ring ends.
    for (len, fits) in [(0, false), (16, true), (17, false), (32, false)] {
        assert_eq!(found(CAPACITY - 32, CAPACITY, Record::PADDING, len), fits.then_some(len));
    }
    assert_eq!(found(CAPACITY - 32, CAPACITY - 16, Record::PADDING, 16), None);
    for kind in [0, 3, u32::MAX] {
        assert_eq!(found(0, CAPACITY, kind, 16), None);
    }
}
