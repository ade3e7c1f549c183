//! Which chunks of work count: those around which nothing else kept the core busy.
//!
//! A virtual processor shares its core with strangers, whom no counter shows. So a loop of fixed work is timed before
//! and after each chunk: it reads more where the core's other thread is busy, or the clock is low.

use crate::clock::ticks;
use anyhow::{Context, Result};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

/// A chunk counts if no reading beside it is more than this share of the best reading, in percent.
pub const LIKE_THE_BEST: u64 = 115;
/// Readings from which the first best one comes.
const READINGS: usize = 100_000;

/// What was read beside a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The slower of both readings of the loop.
    pub slower: u64,
    /// The thread was switched out in between.
    pub switched: bool,
}

impl Beside {
    /// Returns whether the chunk counts, where `best` is the best of all readings, beside chunks or not.
    pub fn counts(self, best: u64) -> bool {
        !self.switched && self.slower * 100 <= LIKE_THE_BEST * best
    }
}

/// The readings so far.
pub struct Quiet {
    best: u64,
    schedule: File,
}

impl Quiet {
    /// Reads the loop for a while.
    pub fn new() -> Result<Self> {
        let schedule = File::open("/proc/thread-self/schedstat").context("the kernel does not count time slices")?;
        Ok(Self { best: (0..READINGS).map(|_| work()).min().unwrap_or(0), schedule })
    }

    /// Does `chunk`, and returns its result with what was read beside it.
    pub fn beside<T>(&mut self, chunk: impl FnOnce() -> T) -> Result<(T, Beside)> {
        let slices = self.slices()?;
        let before = work();
        let value = chunk();
        let after = work();
        let switched = self.slices()? != slices;
        self.best = self.best.min(before).min(after);
        Ok((value, Beside { slower: before.max(after), switched }))
    }

    /// Returns whether a chunk counts, by the best reading so far: what a busy second let pass, a later one may refuse.
    pub fn counts(&self, beside: Beside) -> bool {
        beside.counts(self.best)
    }

    /// Returns the number of time slices that this thread had. See: Linux, Documentation/scheduler/sched-stats.rst.
    fn slices(&self) -> Result<u64> {
        let mut text = [0; 96];
        let len = self.schedule.read_at(&mut text, 0)?;
        let number = || str::from_utf8(text.get(..len)?).ok()?.split_whitespace().nth(2)?.parse().ok();
        number().context("/proc/thread-self/schedstat")
    }
}

/// Ticks of a fixed piece of work in registers. Six chains, whose steps can be done at once, keep the core's units
/// busy, so that a busy thread beside this one shows: a single chain waits for itself, and leaves room for both. No
/// memory is touched: a processor that forwards stores to loads in two ways (Intel's Golden Cove) takes 600 ticks, or
/// 1,700, for a loop over a stack slot.
pub fn work() -> u64 {
    let start = ticks();
    let mut chains = black_box([1u64, 2, 3, 4, 5, 6]);
    for step in 0..400 {
        chains = chains.map(|chain| chain.rotate_left(7) ^ step);
    }
    black_box(chains);
    ticks() - start
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;
    use std::time::Duration;

    #[test]
    fn a_chunk_counts_by_the_best_reading_of_all() {
        let mut quiet = Quiet::new().unwrap();
        quiet.best = 100;
        let read = |slower| Beside { slower, switched: false };
        assert!(quiet.counts(read(115)) && !quiet.counts(read(116)));
        assert!(!quiet.counts(Beside { slower: 100, switched: true }));
        quiet.best = 99;
        assert!(!quiet.counts(read(115)));
    }

    #[test]
    fn a_thread_that_slept_was_switched_out() {
        let mut quiet = Quiet::new().unwrap();
        let ((), beside) = quiet.beside(|| sleep(Duration::from_millis(20))).unwrap();
        assert!(beside.switched && !quiet.counts(beside));
        let slept = quiet.best;
        assert!((0..1000).any(|_| !quiet.beside(|| ()).unwrap().1.switched) && quiet.best <= slept);
    }
}
