//! The report word: one cache line for each reader, in memory that its VM writes and the host reads.
//!
//! ```text
//! word 0      0: the reader is in no burst; 2^64 - 1: in its first burst since then;
//!             else an epoch: no burst of an older one goes on
//! ```
//!
//! A reader reports behind its bursts and is polled, so a burst costs one load of the epoch and one store: the store
//! has to be seen after what the burst did, which Release is enough for. What begins next loads the epoch again, and
//! gets the reported one or a later one.
//!
//! Only a reader that leaves its rest must be seen before it looks at the table, which takes a full fence: otherwise
//! the host could find it at rest while it uses an entry. It rests before it sleeps, so this fence comes with a
//! wake-up, and not with each burst. A word that said "in a burst of epoch E" before each one would cost the fence
//! every time, and would tell the host nothing more of a reader that polls.
//!
//! The word is the epoch as it is behind the burst, and not the one that the burst had: both are true then, and with
//! the later one a change waits for the bursts that were going on, and not for one more of each reader.

use crate::epoch;
use crate::line::Line;
use core::sync::atomic::Ordering::{Relaxed, Release, SeqCst};

/// Word of the line.
pub const WORD: usize = 0;
/// In no burst. Epoch 0 has no entries, so whoever reports it uses none.
pub const RESTS: u64 = 0;
/// In the first burst after a rest.
pub const AWAKE: u64 = u64::MAX;

/// The report word of one reader, on the side of its VM. No other reader writes its line.
#[derive(Debug)]
pub struct Report<L> {
    line: L,
    rests: bool,
}

impl<L: Line> Report<L> {
    /// Returns the report of a reader that is in no burst.
    pub fn new(line: L) -> Self {
        let mut report = Self { line, rests: true };
        report.rest();
        report
    }

    /// Begins a burst, and returns its epoch.
    #[inline(always)]
    pub(crate) fn begin(&mut self, header: &impl Line) -> u64 {
        if self.rests {
            self.wake();
        }
        epoch::load(header)
    }

    /// Reports `epoch`, which was loaded behind the last use of all that an older one's look-ups found.
    #[inline(always)]
    pub(crate) fn end(&mut self, epoch: u64) {
        self.say(epoch);
    }

    /// Says that the reader is in no burst. The host waits for it no longer, so a reader says this before it sleeps.
    pub fn rest(&mut self) {
        self.say(RESTS);
    }

    #[inline(always)]
    fn say(&mut self, word: u64) {
        self.rests = word == RESTS;
        self.line.store(WORD, word, Release);
    }

    #[cold]
    fn wake(&mut self) {
        self.rests = false;
        self.line.store(WORD, AWAKE, Relaxed);
        L::fence(SeqCst);
    }
}
