//! Whole cache lines of words that one side writes while others read them.

use crate::word::prefetch;
use core::sync::atomic::{AtomicU64, Ordering};

/// A cache line: eight words, each of which its writer may change at any time.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct CacheLine([AtomicU64; Self::WORDS]);

const _: () = assert!(size_of::<CacheLine>() == 64 && align_of::<CacheLine>() == 64);

impl CacheLine {
    /// Number of words of a line.
    pub const WORDS: usize = 8;

    /// Returns word `AT`. A relaxed load says nothing of other words.
    #[inline(always)]
    pub fn load<const AT: usize>(&self, order: Ordering) -> u64 {
        const { assert!(AT < Self::WORDS) };
        self.0[AT].load(order)
    }

    /// Returns all words, which may be of different moments.
    #[inline(always)]
    pub fn words(&self) -> &[AtomicU64; Self::WORDS] {
        &self.0
    }

    /// Begins to fetch the line, to be read. See: SDM volume 2, "PREFETCHh".
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch((&raw const *self).cast());
    }
}
