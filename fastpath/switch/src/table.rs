//! The flow table: its memory, which a [`Writer`] writes while any number of [`Reader`]s read it without a lock.
//!
//! ```text
//! lines   2        32          entries / 4     2 * entries   2 * lists
//!         header   subtables   buckets         entries       action lists
//! ```
//!
//! All flows whose masks are equal are a subtable. A subtable's flow is found by a hash of the key's masked words and
//! of the subtable's number, which names two buckets of one array that all subtables share. The first one is the
//! flow's home; a flow that found no place there is in the other one, and the home counts it, so that a look-up reads a
//! second bucket only where that may help. The header's second line names the entry of each subtable that has one
//! alone, which is then looked at without a hash.
//!
//! A reader believes nothing that it reads: each index is masked on use, so the worst that a table can hold is a wrong
//! entry, and an entry gives its actions only to a key that it matches.

mod bucket;
mod front;
mod hash;
mod reader;
mod record;
mod writer;

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
pub use front::Front;
pub use hash::Seed;
pub use reader::{BURST, Hit, Reader};
use record::Record;
use sluice_memory::CacheLine;
pub use writer::{EntryId, TableError, Writer};

/// Number of subtables that a table can have. It bounds the work of a look-up.
pub const SUBTABLES: usize = 16;
/// Entries of a table for each bucket, which has eight places: half of all places are taken in a full table.
const ENTRIES_PER_BUCKET: usize = 4;
/// Largest number of entries, and of lists of actions.
const MOST: u32 = 1 << 24;

/// The size of a table: powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of entries, at least 4.
    pub entries: u32,
    /// Number of different lists of actions.
    pub lists: u32,
}

/// Reasons for which memory is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A number is no power of two, or out of bounds.
    #[error("{0:?}: powers of two, from 4 entries and 1 list to {MOST}")]
    Shape(Shape),
    /// The memory is not as long as the table.
    #[error("the table has {wanted} cache lines, the memory {lines}")]
    Memory {
        /// Cache lines of the table.
        wanted: usize,
        /// Cache lines of the memory.
        lines: usize,
    },
}

impl Shape {
    /// Returns the number of cache lines of the table.
    pub const fn lines(self) -> usize {
        let [entries, lists] = [self.entries as usize, self.lists as usize];
        2 * (1 + SUBTABLES) + entries / ENTRIES_PER_BUCKET + 2 * entries + 2 * lists
    }

    /// Returns the shape, if a table can have it.
    ///
    /// # Errors
    /// [`ShapeError::Shape`].
    pub const fn check(self) -> Result<Self, ShapeError> {
        let powers = self.entries.is_power_of_two() && self.lists.is_power_of_two();
        let least = self.entries >= ENTRIES_PER_BUCKET as u32;
        if powers && least && self.entries <= MOST && self.lists <= MOST {
            Ok(self)
        } else {
            Err(ShapeError::Shape(self))
        }
    }
}

/// The memory of a [`Record`].
type Pair = [CacheLine; 2];

/// The parts of a table. Those that are indexed by numbers from shared memory have a power of two of elements.
#[derive(Clone, Copy, Debug)]
struct Parts<'m> {
    header: &'m CacheLine,
    /// For each subtable (32 bits, two in a word) 1 more than the index of its entry, if there is one alone; else 0.
    only: &'m CacheLine,
    subtables: &'m [Pair],
    buckets: &'m [CacheLine],
    entries: &'m [Pair],
    lists: &'m [Pair],
}

/// Words of the header behind the epoch: the numbers of the subtables in the order of look-up (four bits each, from bit
/// 0), how many there are, and the lease.
const ORDER: usize = 1;
const COUNT: usize = 2;
const LEASE: usize = 3;

impl<'m> Parts<'m> {
    fn of(memory: &'m [CacheLine], shape: Shape) -> Result<Self, ShapeError> {
        let shape = shape.check()?;
        Self::split(memory, shape).ok_or(ShapeError::Memory { wanted: shape.lines(), lines: memory.len() })
    }

    fn split(memory: &'m [CacheLine], shape: Shape) -> Option<Self> {
        let (header, rest) = memory.get(..shape.lines())?.split_at_checked(2)?;
        let (subtables, rest) = rest.split_at_checked(2 * SUBTABLES)?;
        let (buckets, rest) = rest.split_at_checked(shape.entries as usize / ENTRIES_PER_BUCKET)?;
        let (entries, lists) = rest.split_at_checked(2 * shape.entries as usize)?;
        let [subtables, entries, lists] = [subtables, entries, lists].map(|lines| lines.as_chunks().0);
        Some(Self { header: &header[0], only: &header[1], subtables, buckets, entries, lists })
    }

    /// Returns the index of the only entry of a subtable; `None` if it has others.
    #[inline(always)]
    fn only(&self, number: usize) -> Option<u32> {
        let word = self.only.words()[number / 2 % CacheLine::WORDS].load(Acquire);
        ((word >> (number % 2 * 32)) as u32).checked_sub(1)
    }

    /// Notes the only entry of a subtable, or that it has others, for whoever sees the next epoch.
    fn note_only(&self, number: usize, index: Option<u32>) {
        let (word, shift) = (&self.only.words()[number / 2 % CacheLine::WORDS], number % 2 * 32);
        let others = word.load(Relaxed) & !(u64::from(u32::MAX) << shift);
        word.store(others | index.map_or(0, |index| u64::from(index) + 1) << shift, Release);
    }

    #[inline(always)]
    fn subtable(&self, index: u64) -> Record<'m> {
        Record(pick(self.subtables, index))
    }

    #[inline(always)]
    fn entry(&self, index: u32) -> Record<'m> {
        Record(pick(self.entries, index.into()))
    }

    #[inline(always)]
    fn list(&self, index: u32) -> Record<'m> {
        Record(pick(self.lists, index.into()))
    }
}

/// Returns the element of `all`, a power of two of elements, that `index` names.
#[inline(always)]
fn pick<T>(all: &[T], index: u64) -> &T {
    &all[index as usize & (all.len() - 1)]
}
