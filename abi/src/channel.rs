//! A channel: memory in which one writer leaves bytes, or packets, for any number of readers.
//!
//! | offset | length | what | who writes |
//! |---|---|---|---|
//! | 0 | 64 B | [`Header`] | the host, once, before anybody else has the memory |
//! | [`POSITIONS`] | 64 B | [`word`]: how far the writer is | the writer |
//! | [`RING`] | [`Header::capacity`] | the ring | the writer |
//!
//! Readers write nothing, so the memory is mapped for them for reading only, and the writer waits for nobody. A reader
//! that is too slow finds that what it was to read next is overwritten: it is *overrun*, knows how much it lost, and
//! goes on with the oldest record that is whole. Numbers are little-endian, as is the CPU.
//!
//! # Positions
//! A position is the number of bytes that were put into the ring before it, since the channel was made. The byte at
//! position *p* lies at offset `RING + p % capacity`. Positions only grow.
//!
//! ```text
//! given up               whole                          being written
//! ───────────┬──────────────────────────────┬──────────────────────┐
//!         OLDEST                        PUBLISHED     at most OLDEST + capacity
//! ```
//!
//! The writer gives bytes up before it overwrites them, and publishes bytes after it wrote them: it stores
//! [`word::OLDEST`], writes behind [`word::PUBLISHED`], and stores that. A reader loads [`word::PUBLISHED`], copies
//! bytes before it, and then loads [`word::OLDEST`]: what it copied is whole if that is not beyond where the copy
//! began. Each of these steps is ordered behind the one before, by a fence where the processor needs one (x86 does
//! not).
//!
//! # Packets
//! A channel of [`Kind::PACKETS`] has records, each a [`Record`] and its bytes, which begin at multiples of [`ALIGN`].
//! None goes over the end of the ring: where the rest is too short, a record of [`Record::PADDING`] fills it.
//! [`word::OLDEST`] is where a record begins.
//!
//! # Writers that come and go
//! There is one writer at a time. One that takes the place of another goes on at [`word::PUBLISHED`]; what the other
//! had not published is lost. It stores that position as [`word::BEGAN`], and then counts [`word::GENERATION`] up, so
//! that readers see where another writer's data begins.

use crate::map::PAGE;
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of a [`Header`]: "SluiceCh".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SluiceCh");
/// Version of this layout. Readers and writers refuse any other.
pub const VERSION: u32 = 1;
/// Offset of the words of [`word`], in bytes.
pub const POSITIONS: u64 = 64;
/// Offset of the ring, in bytes.
pub const RING: u64 = PAGE;
/// Records begin at multiples of this number of bytes.
pub const ALIGN: u64 = size_of::<Record>() as u64;
/// Least and largest capacity in bytes.
pub const MIN_CAPACITY: u64 = PAGE;
/// See: [`MIN_CAPACITY`].
pub const MAX_CAPACITY: u64 = 1 << 32;

/// The start of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`]. It is written last.
    pub magic: u64,
    /// [`VERSION`]
    pub version: u32,
    /// Number of the [`Kind`].
    pub kind: u32,
    /// Length of the ring in bytes: a power of two, [`MIN_CAPACITY`] to [`MAX_CAPACITY`].
    pub capacity: u64,
    /// Reserved, 0.
    pub reserved: [u64; 5],
}

const _: () = assert!(size_of::<Header>() as u64 == POSITIONS && offset_of!(Header, capacity) == 16);

/// What a channel carries. Numbers are those of [`Header::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Kind(pub u32);

impl Kind {
    /// A stream of bytes.
    pub const BYTES: Self = Self(1);
    /// Records, each of which arrives whole or not at all.
    pub const PACKETS: Self = Self(2);
}

/// Indices of 64-bit words from [`POSITIONS`] on. All are 0 at first.
pub mod word {
    /// Position up to which the ring is written.
    pub const PUBLISHED: usize = 0;
    /// Position before which bytes may be overwritten.
    pub const OLDEST: usize = 1;
    /// Number of writers that there have been.
    pub const GENERATION: usize = 2;
    /// Position at which the newest writer began.
    pub const BEGAN: usize = 3;
    /// Number of words.
    pub const COUNT: u16 = 8;
}

const _: () = assert!(POSITIONS + 8 * word::COUNT as u64 <= RING);

/// What stands before the bytes of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Record {
    /// Length of the bytes, at most [`max_len`].
    pub len: u32,
    /// [`Record::DATA`] or [`Record::PADDING`].
    pub kind: u32,
    /// Number of records before this one since the channel was made; padding does not count.
    pub number: u64,
}

const _: () = assert!(size_of::<Record>() == 16 && offset_of!(Record, kind) == 4 && offset_of!(Record, number) == 8);

impl Record {
    /// Bytes that somebody wrote.
    pub const DATA: u32 = 1;
    /// Bytes without a meaning, up to the end of the ring.
    pub const PADDING: u32 = 2;

    /// Returns length and kind as the word that they are.
    #[inline(always)]
    pub const fn word(&self) -> u64 {
        (self.kind as u64) << 32 | self.len as u64
    }

    /// Returns the number of bytes that the record takes in the ring.
    #[inline(always)]
    pub const fn size(&self) -> u64 {
        (size_of::<Self>() as u64 + self.len as u64).next_multiple_of(ALIGN)
    }
}

/// Returns the most bytes that a record of a channel of this capacity may have: with its [`Record`] a quarter of the
/// capacity.
#[inline(always)]
pub const fn max_len(capacity: u64) -> u64 {
    capacity / 4 - size_of::<Record>() as u64
}

const _: () = assert!(max_len(MAX_CAPACITY) < u32::MAX as u64);

/// Returns the length of the memory of a channel of this capacity, in bytes.
pub const fn memory_len(capacity: u64) -> u64 {
    RING + capacity
}
