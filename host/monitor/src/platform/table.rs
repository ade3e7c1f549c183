//! Frames used as tables of 512 words: page tables, EPT tables, EPTP lists.
#![allow(unsafe_code, reason = "writes frames through the identity map; the one type that may")]

use crate::platform::frames::{self, OutOfFrames};
use sluice_abi::Hpa;

/// A frame of 512 64-bit words that a processor may read at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table(Hpa);

impl Table {
    /// Words in a table.
    pub const WORDS: usize = 512;

    /// A new table, all zero.
    pub fn alloc() -> Result<Self, OutOfFrames> {
        frames::alloc().map(Self)
    }

    /// `count` tables in a row, all zero; the first one.
    pub fn alloc_run(count: usize) -> Result<Self, OutOfFrames> {
        frames::alloc_contiguous(count as u64 * 4096, 4096).map(Self)
    }

    /// The table `index` places on in a run.
    pub const fn nth(self, index: usize) -> Self {
        Self(Hpa(self.0.0 + index as u64 * 4096))
    }

    /// The table that a word of another table links to.
    ///
    /// Only the walkers of this crate call it, with words that [`Table::set`] wrote from a table's own address.
    pub(crate) const fn at(hpa: Hpa) -> Self {
        Self(hpa)
    }

    /// Where it is.
    pub const fn hpa(self) -> Hpa {
        self.0
    }

    fn word(self, index: usize) -> *mut u64 {
        ((self.0.0 as usize + (index % Self::WORDS) * 8) as *mut u64).cast()
    }

    /// Word `index` modulo 512.
    pub fn get(self, index: usize) -> u64 {
        // SAFETY: the frame came from the allocator, is never freed, is identity-mapped, and the index is bounded.
        unsafe { self.word(index).read_volatile() }
    }

    /// Writes word `index` modulo 512, whole.
    pub fn set(self, index: usize, value: u64) {
        // SAFETY: as in get; the processor sees the old or the new word, never half of one.
        unsafe { self.word(index).write_volatile(value) };
    }

    /// Copies a page image into the frame.
    pub fn fill(self, image: &[u8; 4096]) {
        for (index, word) in image.as_chunks::<8>().0.iter().enumerate() {
            self.set(index, u64::from_le_bytes(*word));
        }
    }
}
