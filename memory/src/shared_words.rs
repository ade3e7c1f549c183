//! 64-bit words that one side writes while others read them.

use crate::Table;
use core::sync::atomic::{Ordering, fence};

/// Words that one side writes and others read at any time, each whole. Fences order them.
pub trait SharedWords {
    /// Returns word `index`, or 0 where there is none.
    fn load(&self, index: usize) -> u64;
    /// Writes word `index`, or nothing where there is none.
    fn store(&self, index: usize, word: u64);
    /// Orders every load before it against every load after it.
    fn acquire();
    /// Orders every store before it against every store after it, for whoever loads with [`SharedWords::acquire`]
    /// between.
    fn release();
}

impl SharedWords for Table<'_, u64> {
    #[inline(always)]
    fn load(&self, index: usize) -> u64 {
        self.words().get(index).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn store(&self, index: usize, word: u64) {
        if let Some(place) = self.words().get(index) {
            place.store(word, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn acquire() {
        fence(Ordering::Acquire);
    }

    #[inline(always)]
    fn release() {
        fence(Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::PeerSlice;

    #[test]
    fn words_are_where_they_were_written_and_nowhere_else() {
        let mut memory = std::vec![0u64; 4];
        let all = PeerSlice::from_mut(&mut memory);
        let words = all.table::<u64>(8, 2).unwrap();
        (0..4).for_each(|index| words.store(index, index as u64 + 5));
        assert_eq!((0..4).map(|index| words.load(index)).collect::<std::vec::Vec<_>>(), [5, 6, 0, 0]);
        assert_eq!(memory, [0, 5, 6, 0]);
    }
}
