//! Which epoch all readers of a table have reported, on the host's side.

use crate::line::Line;
use crate::report::{AWAKE, RESTS, WORD};
use alloc::collections::BTreeMap;
use core::sync::atomic::Ordering::{Acquire, SeqCst};

/// A report word that an honest reader does not write. It counts as none: nothing is freed for it, and its reader is
/// [overdue](Quiescence::overdue) in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportFault {
    /// The word is no epoch that was issued.
    #[error("the report word is {word}, and the last epoch is {epoch}")]
    NotIssued {
        /// The word.
        word: u64,
        /// The epoch that was issued last.
        epoch: u64,
    },
    /// The word is an older epoch than one that was reported before.
    #[error("the report word is {word} after {reported} was reported")]
    Backwards {
        /// The word.
        word: u64,
        /// What was reported before.
        reported: u64,
    },
}

/// What is known of a reader.
#[derive(Debug)]
struct Known<L> {
    line: L,
    /// No burst of an older epoch goes on.
    reported: u64,
    /// The epoch that the reader is to report, and the time since when that is so.
    awaited: u64,
    since: u64,
}

impl<L: Line> Known<L> {
    /// Reads the word once. A reader at rest has reported every epoch: its next burst begins in this one, or later.
    fn read(&mut self, epoch: u64) -> Result<(), ReportFault> {
        let reported = self.reported;
        self.reported = match self.line.load(WORD, Acquire) {
            RESTS => epoch,
            AWAKE => reported,
            word if word > epoch => return Err(ReportFault::NotIssued { word, epoch }),
            word if word < reported => return Err(ReportFault::Backwards { word, reported }),
            word => word,
        };
        Ok(())
    }
}

/// The readers that may use a table, by numbers that the host gives them. It never waits: time is a number that the
/// caller has, in ticks of any clock that does not run backwards.
///
/// A reader can lie, and then goes on with entries that were freed. That is why its windows are closed where it must
/// not go: entries are advice, windows are rights.
#[derive(Debug)]
pub struct Quiescence<L> {
    readers: BTreeMap<u32, Known<L>>,
}

impl<L> Default for Quiescence<L> {
    fn default() -> Self {
        Self { readers: BTreeMap::new() }
    }
}

impl<L: Line> Quiescence<L> {
    /// Adds a reader, whose report word is in `line`, at time `now`, or puts it in the place of the one with this
    /// number. It has reported nothing until it is polled, so nothing is freed before that.
    ///
    /// A reader that joins again may still be in a burst of before. Its windows stay closed until
    /// [`Quiescence::reported`] is `epoch`, the one that was issued last.
    pub fn join(&mut self, reader: u32, line: L, epoch: u64, now: u64) {
        self.readers.insert(reader, Known { line, reported: 0, awaited: epoch, since: now });
    }

    /// Removes a reader, whose windows are closed by now, so that nothing waits for it. Returns whether it was there.
    pub fn leave(&mut self, reader: u32) -> bool {
        self.readers.remove(&reader).is_some()
    }

    /// Reads each report word once, and returns the epoch that all readers have reported, for
    /// [`Writer::reclaim`](crate::Writer::reclaim): no burst of an older one goes on. `epoch` is the one that was
    /// published last. Who wrote no report is named to `say`, at each poll.
    pub fn poll(&mut self, epoch: u64, now: u64, mut say: impl FnMut(u32, ReportFault)) -> u64 {
        // The publication comes before the loads: either a reader that wakes up is seen here, or it sees the epoch.
        L::fence(SeqCst);
        let mut all = epoch;
        for (&reader, known) in &mut self.readers {
            if let Err(fault) = known.read(epoch) {
                say(reader, fault);
            }
            if known.reported >= known.awaited {
                (known.awaited, known.since) = (epoch, now);
            }
            all = all.min(known.reported);
        }
        all
    }

    /// Returns the epoch that a reader has reported.
    pub fn reported(&self, reader: u32) -> Option<u64> {
        self.readers.get(&reader).map(|known| known.reported)
    }

    /// Returns the readers that did not report within `bound` what was the last epoch at some poll. No change waits for
    /// a reader for longer than twice that and the time between two polls: the host takes its windows and lets it
    /// [leave](Quiescence::leave).
    pub fn overdue(&self, now: u64, bound: u64) -> impl Iterator<Item = u32> {
        let is_overdue =
            move |known: &Known<L>| known.reported < known.awaited && now.saturating_sub(known.since) > bound;
        self.readers.iter().filter(move |(_, known)| is_overdue(known)).map(|(&reader, _)| reader)
    }
}

#[cfg(test)]
mod tests;
