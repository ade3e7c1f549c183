//! Frames used as tables of 512 words: page tables, EPT tables, EPTP lists.

use crate::platform::physical::{self, FRAME, OutOfFrames};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sluice_abi::Hpa;

/// A frame of 512 64-bit words that a processor may read at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table(Hpa);

impl Table {
    /// Number of words in a table.
    pub const WORDS: usize = physical::WORDS;

    /// Returns a new table, all zero.
    pub fn alloc() -> Result<Self, OutOfFrames> {
        physical::alloc().map(Self)
    }

    /// Returns the first of `count` new tables in a row, all zero.
    pub fn alloc_run(count: usize) -> Result<Self, OutOfFrames> {
        physical::alloc_contiguous(count as u64 * FRAME, FRAME).map(Self)
    }

    /// Returns the table `index` places on in a run.
    pub const fn nth(self, index: usize) -> Self {
        Self(Hpa(self.0.0 + index as u64 * FRAME))
    }

    /// Returns the table at `hpa`, to which a word of another table links. Where no frame was given out, all its words
    /// are 0 and stay so.
    pub const fn at(hpa: Hpa) -> Self {
        Self(hpa)
    }

    /// Returns the physical address of the table.
    pub const fn hpa(self) -> Hpa {
        self.0
    }

    /// Returns the words of the table. The processor sees the old or the new value of a word, never half of one.
    pub fn words(self) -> Option<&'static [AtomicU64; Self::WORDS]> {
        physical::words(self.0)
    }

    /// Returns word `index` modulo 512.
    pub fn get(self, index: usize) -> u64 {
        self.words().map_or(0, |words| words[index % Self::WORDS].load(Relaxed))
    }

    /// Writes word `index` modulo 512, whole.
    pub fn set(self, index: usize, value: u64) {
        if let Some(words) = self.words() {
            words[index % Self::WORDS].store(value, Relaxed);
        }
    }

    /// Copies a page image into the frame.
    pub fn fill(self, image: &[u8; FRAME as usize]) {
        for (index, word) in image.as_chunks::<8>().0.iter().enumerate() {
            self.set(index, u64::from_le_bytes(*word));
        }
    }
}
