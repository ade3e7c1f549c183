//! Memory with poison around it.

use crate::{ALIGN, Runs, read, zeroed};
use std::ops::Deref;

const POISON: u8 = 0xA5;

/// Runs of bytes with a page of poison before and after each. Dropping this checks the poison.
#[derive(Clone)]
pub struct Memory(Runs);

impl Deref for Memory {
    type Target = Runs;

    fn deref(&self) -> &Runs {
        &self.0
    }
}

impl Memory {
    /// Returns zeroed runs of `lens` bytes. Each starts at a page.
    pub fn new(lens: &[u64]) -> Self {
        let mut len = ALIGN;
        let mut extents = Vec::new();
        for run in lens {
            extents.push((len, *run));
            len += run.next_multiple_of(ALIGN) + ALIGN;
        }
        let memory = Self(Runs { all: zeroed(len), extents });
        for (start, end) in memory.gaps() {
            memory.all.copy_from_slice(start, &vec![POISON; (end - start) as usize]).expect("inside");
        }
        memory
    }

    /// Returns where the bytes of no run start and end.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let starts = [0].into_iter().chain(self.extents.iter().map(|(offset, len)| offset + len));
        let ends = self.extents.iter().map(|(offset, _)| *offset).chain([self.all.len()]);
        starts.zip(ends).collect()
    }

    /// Panics if anything was written outside the runs.
    pub fn check(&self) {
        for (start, end) in self.gaps() {
            let bytes = read(self.all, start, end - start);
            assert!(bytes == vec![POISON; bytes.len()], "bytes {start:#x} to {end:#x} were written");
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}
