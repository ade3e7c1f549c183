//! A cache line of words that one side writes while others read them.

use core::sync::atomic::{Ordering, fence};
use sluice_memory::CacheLine;

/// A line of shared memory, or of a model of one: what epochs, report words and statistics promise depends on the order
/// of a few loads and stores, and loom tries all orders of its own atomics only.
pub trait Line {
    /// Returns word `at`, modulo the number of words.
    fn load(&self, at: usize, order: Ordering) -> u64;
    /// Writes word `at`, modulo the number of words.
    fn store(&self, at: usize, word: u64, order: Ordering);
    /// Orders the accesses before it and after it.
    fn fence(order: Ordering);
}

impl Line for &CacheLine {
    #[inline(always)]
    fn load(&self, at: usize, order: Ordering) -> u64 {
        self.words()[at % CacheLine::WORDS].load(order)
    }

    #[inline(always)]
    fn store(&self, at: usize, word: u64, order: Ordering) {
        self.words()[at % CacheLine::WORDS].store(word, order);
    }

    #[inline(always)]
    fn fence(order: Ordering) {
        fence(order);
    }
}
