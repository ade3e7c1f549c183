//! Memory with poison around it.

use crate::{ALIGN, read, zeroed};
use sluice_memory::PeerSlice;

const POISON: u8 = 0xA5;

/// Runs of bytes with a page of poison before and after each. Dropping this checks the poison.
#[derive(Clone)]
pub struct Memory {
    all: PeerSlice<'static>,
    runs: Vec<(u64, u64)>,
}

impl Memory {
    /// Returns zeroed runs of `lens` bytes. Each starts at a page.
    pub fn new(lens: &[u64]) -> Self {
        let mut len = ALIGN;
        let mut runs = Vec::new();
        for run in lens {
            runs.push((len, *run));
            len += run.next_multiple_of(ALIGN) + ALIGN;
        }
        let memory = Self { all: zeroed(len), runs };
        for (start, end) in memory.gaps() {
            memory.all.copy_from_slice(start, &vec![POISON; (end - start) as usize]).expect("inside");
        }
        memory
    }

    /// Returns the run of number `index`.
    pub fn run(&self, index: usize) -> PeerSlice<'static> {
        let (offset, len) = self.runs[index];
        self.all.sub(offset, len).expect("inside")
    }

    /// Returns runs and poison as one.
    pub const fn all(&self) -> PeerSlice<'static> {
        self.all
    }

    /// Returns where in [`Memory::all`] the run of number `index` starts, and its length, in bytes.
    pub fn extent(&self, index: usize) -> (u64, u64) {
        self.runs[index]
    }

    /// Returns where the bytes of no run start and end.
    fn gaps(&self) -> Vec<(u64, u64)> {
        let starts = [0].into_iter().chain(self.runs.iter().map(|(offset, len)| offset + len));
        let ends = self.runs.iter().map(|(offset, _)| *offset).chain([self.all.len()]);
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
