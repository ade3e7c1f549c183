//! What readers and writers say.

use sluice_abi::channel::{Kind, MAGIC, MAX_CAPACITY, MIN_CAPACITY, VERSION};

/// Reasons for which memory is no channel that can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The memory starts with this number.
    #[error("no channel: the memory starts with {0:#x}, not {MAGIC:#x}")]
    Magic(u64),
    /// This program does not know the version.
    #[error("channel of version {0}; this program knows {VERSION}")]
    Version(u32),
    /// It carries something else: the number of its kind, and that of what was wanted.
    #[error("channel of kind {found}; this program wants kind {}", wanted.0)]
    Kind {
        /// The kind that its header says.
        found: u32,
        /// The kind that was to be opened.
        wanted: Kind,
    },
    /// No ring has this length in bytes.
    #[error("ring of {0} bytes: a power of two from {MIN_CAPACITY} to {MAX_CAPACITY} is possible")]
    Capacity(u64),
    /// The memory is shorter than a channel with this ring.
    #[error("{len} bytes of memory, of {needed} that the channel has")]
    Short {
        /// Length of the memory in bytes.
        len: u64,
        /// Length that it must have.
        needed: u64,
    },
    /// The memory does not begin at a cache line.
    #[error("the memory does not begin at a multiple of 64")]
    Alignment,
    /// At each look the writer had just overwritten the oldest record. The caller may try again.
    #[error("the writer overwrites records faster than one can be found")]
    Busy,
    /// What the memory says of the ring makes no sense.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Numbers in the memory of a channel that no writer writes. Positions are those of [`sluice_abi::channel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The writer's positions do not fit each other, the ring, or where the reader is.
    #[error("the channel's writer says that positions {oldest} to {published} are whole, which can't be at {at}")]
    Positions {
        /// Where the reader, or the new writer, is.
        at: u64,
        /// [`sluice_abi::channel::word::OLDEST`]
        oldest: u64,
        /// [`sluice_abi::channel::word::PUBLISHED`]
        published: u64,
    },
    /// No record of this kind and length can be there.
    #[error("at position {at} the channel has a record of kind {kind} and {len} bytes, which can't be there")]
    Record {
        /// Position of the record.
        at: u64,
        /// Its kind.
        kind: u32,
        /// Its length in bytes.
        len: u32,
    },
    /// The record has another number than the one before it leads to.
    #[error("at position {at} the channel has record {found}, where record {expected} must be")]
    Number {
        /// Position of the record.
        at: u64,
        /// Its number.
        found: u64,
        /// The number that it must have.
        expected: u64,
    },
}

/// What a reader lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Number of records; 0 of a stream of bytes.
    pub records: u64,
    /// Number of bytes of the ring: those of a stream, or of records with what stands before each, and padding.
    pub bytes: u64,
}

/// What a reader finds instead of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The writer has overwritten what was to be read next. The reader goes on with the oldest that there is. Nothing
    /// that this call copied counts as read.
    #[error("overrun: {} records, {} bytes were lost", .0.records, .0.bytes)]
    Overrun(Lost),
    /// What comes next was written by another writer than what came before, the one with this number. Said once.
    #[error("writer {generation} of the channel begins here")]
    NewWriter {
        /// Number of the writer, from 1.
        generation: u64,
    },
    /// The next record does not fit, and stays the next one.
    #[error("a record of {needed} bytes does not fit into {len}")]
    Buffer {
        /// Length of the record in bytes.
        needed: usize,
        /// Length of the caller's memory in bytes.
        len: usize,
    },
    /// The writer wrote nonsense. The reader stays where it is.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Reasons for which a record is not written. Those before it in its burst are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It is too long for the ring.
    #[error("record {index} of a burst has {len} bytes; {most} are possible in this channel")]
    TooLong {
        /// Its place in the burst, from 0.
        index: usize,
        /// Its length in bytes.
        len: usize,
        /// The most bytes that a record may have: [`sluice_abi::channel::max_len`].
        most: u64,
    },
    /// Somebody else has written into the ring.
    #[error(transparent)]
    Fault(#[from] Fault),
}
