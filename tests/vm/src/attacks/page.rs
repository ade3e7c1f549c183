//! Pages of this image's data that the processor, a peer or code without a type reads and writes as well: tables, code,
//! stacks, buffers.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A page, as words. RAM is mapped one to one, so its address is its guest-physical address.
#[repr(C, align(4096))]
pub struct Page([AtomicU64; Page::WORDS]);

impl Page {
    /// The number of words.
    pub const WORDS: usize = 512;

    /// Returns a page of zeros.
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; Self::WORDS])
    }

    /// Returns the page's guest-physical address.
    pub fn gpa(&self) -> u64 {
        self.0.as_ptr().addr() as u64
    }

    /// Returns the address behind the page: that of a stack without anything on it.
    pub fn end(&self) -> u64 {
        self.gpa() + size_of::<Self>() as u64
    }

    pub fn set(&self, index: usize, word: u64) {
        self.0[index].store(word, Relaxed);
    }

    pub fn get(&self, index: usize) -> u64 {
        self.0[index].load(Relaxed)
    }

    /// Changes byte `index`.
    pub fn set_byte(&self, index: usize, byte: u8) {
        let mut bytes = self.get(index / 8).to_ne_bytes();
        bytes[index % 8] = byte;
        self.set(index / 8, u64::from_ne_bytes(bytes));
    }

    /// Makes each word `word`.
    pub fn fill(&self, word: u64) {
        (0..Self::WORDS).for_each(|index| self.set(index, word));
    }

    /// Returns how many words are not `word`.
    pub fn others(&self, word: u64) -> usize {
        (0..Self::WORDS).filter(|&index| self.get(index) != word).count()
    }
}
