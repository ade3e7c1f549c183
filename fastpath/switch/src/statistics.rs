//! What a reader counts for each entry: records in its VM's own memory, apart from the table.
//!
//! ```text
//! word 0      generation of the entry that is counted, 0 while it changes
//! word 1, 2   packets, and bytes of their frames
//! word 3      time of the last one
//! word 4      flags of TCP that were seen: a bit is set once a packet had it
//! word 5      time of the first packet, or later that at which a frame of the flow last went by the slow path though
//!             it had an entry: for the reader itself
//! ```
//!
//! The record of an entry is the cache line with its number. It begins anew with each generation, so that no flow is
//! given what another one had. Only the reader writes it, with plain stores: nothing is locked. docs/performance.md has
//! what a packet takes.
//!
//! A burst is added packet by packet, as its records are in a cache by then, behind its last window and before
//! [`Reader::end`](crate::Reader::end): the counts of a flow are then complete when all readers have reported the epoch
//! in which the flow dies. Lost is what a VM that is killed had not reported, at most one burst of each reader.

mod ledger;

use crate::line::Line;
use crate::table::Hit;
use core::array;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
pub use ledger::{Counts, CountsFault, Ledger};
use sluice_memory::CacheLine;

const GENERATION: usize = 0;
const COUNTS: usize = 1;
const DUE: usize = 5;
/// Packets, bytes, time, flags.
type Words = [u64; 4];

/// The records of one reader, on the side of its VM.
#[derive(Debug)]
pub struct Statistics<'m> {
    records: &'m [CacheLine],
}

impl<'m> Statistics<'m> {
    /// Returns records that count nothing yet, one for each entry of the table; `None` unless their number is a power
    /// of two.
    pub fn new(records: &'m [CacheLine]) -> Option<Self> {
        records.iter().for_each(|record| record.store(GENERATION, 0, Relaxed));
        records.len().is_power_of_two().then_some(Self { records })
    }

    /// Begins to fetch the records of what was hit, so that they arrive while actions are done.
    #[inline]
    pub fn prefetch(&self, hits: &[Option<Hit>]) {
        hits.iter().flatten().for_each(|hit| self.record(hit.entry).prefetch());
    }

    /// Adds a burst: for each frame what it hit, its length in bytes, and its flags of TCP or 0. `now` is the time.
    #[inline]
    pub fn add(&mut self, now: u64, frames: impl IntoIterator<Item = (Hit, u16, u16)>) {
        for (hit, len, flags) in frames {
            add(&self.record(hit.entry), now, hit.generation(), len, flags);
        }
    }

    /// Returns whether the flow that was hit is due for the slow path, and then notes that it goes there at time `now`:
    /// for the first time `period` after its first count, and then each time `period` after it last went.
    #[inline]
    pub(crate) fn take_due(&mut self, hit: &Hit, now: u64, period: u64) -> bool {
        let record = self.record(hit.entry);
        if record.load(GENERATION, Relaxed) != u64::from(hit.generation()) {
            return false;
        }
        let is_due = now.wrapping_sub(record.load(DUE, Relaxed)) >= period;
        if is_due {
            record.store(DUE, now, Relaxed);
        }
        is_due
    }

    #[inline(always)]
    fn record(&self, entry: u32) -> &'m CacheLine {
        &self.records[entry as usize & (self.records.len() - 1)]
    }
}

/// Adds a packet to a record, which begins anew if it is that of another generation.
#[inline(always)]
fn add<L: Line>(record: &L, now: u64, generation: u32, len: u16, flags: u16) {
    let generation = u64::from(generation);
    let is_same = record.load(GENERATION, Relaxed) == generation;
    if !is_same {
        // Whoever sees one of the new counts does not see the old generation any more.
        record.store(GENERATION, 0, Relaxed);
        L::fence(Release);
        record.store(DUE, now, Relaxed);
    }
    let [packets, bytes, _, seen] = if is_same { counts(record) } else { [0; 4] };
    let words = [packets.wrapping_add(1), bytes.wrapping_add(len.into()), now, seen | u64::from(flags)];
    (COUNTS..).zip(words).for_each(|(at, word)| record.store(at, word, Relaxed));
    if !is_same {
        record.store(GENERATION, generation, Release);
    }
}

#[inline(always)]
fn counts<L: Line>(record: &L) -> Words {
    array::from_fn(|at| record.load(COUNTS + at, Relaxed))
}

/// Returns the counts of `generation`, each read once; `None` if the record is, or becomes meanwhile, that of another.
fn read<L: Line>(record: &L, generation: u32) -> Option<Words> {
    let is_right = |word| word == u64::from(generation) && generation != 0;
    is_right(record.load(GENERATION, Acquire)).then_some(())?;
    let words = counts(record);
    L::fence(Acquire);
    is_right(record.load(GENERATION, Relaxed)).then_some(words)
}

#[cfg(test)]
mod tests;
