//! Memory with poison around it.

use sluice_abi::map::PAGE;
use sluice_memory::PeerSlice;
use std::alloc::{Layout, alloc_zeroed};

const POISON: u8 = 0xA5;

/// Runs of bytes with a page of poison before and after each. Never freed, as slices of it have no end; dropping this
/// checks the poison.
#[derive(Clone)]
pub struct Memory {
    pub(super) all: PeerSlice<'static>,
    pub(super) runs: Vec<(u64, u64)>,
}

impl Memory {
    /// Zeroed runs of `lens` bytes.
    #[allow(unsafe_code, reason = "makes shared memory out of ordinary memory")]
    pub fn new(lens: &[u64]) -> Self {
        let mut len = PAGE;
        let mut runs = Vec::new();
        for run in lens {
            runs.push((len, *run));
            len += run.next_multiple_of(PAGE) + PAGE;
        }
        let layout = Layout::from_size_align(len as usize, PAGE as usize).expect("a few runs of a few pages");
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc_zeroed(layout) };
        assert!(!base.is_null());
        // SAFETY: just allocated, never freed, and reached through this slice and its parts only.
        let all = unsafe { PeerSlice::from_raw(base, len) };
        let memory = Self { all, runs };
        for (start, end) in memory.gaps() {
            all.copy_from_slice(start, &vec![POISON; (end - start) as usize]).expect("inside");
        }
        memory
    }

    /// The run at place `index`.
    pub fn run(&self, index: usize) -> PeerSlice<'static> {
        let (offset, len) = self.runs[index];
        self.all.sub(offset, len).expect("inside")
    }

    /// The bytes of no run, from and to.
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

/// The `len` bytes of `memory` at `offset`.
pub fn read(memory: PeerSlice<'_>, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    memory.copy_to_slice(offset, &mut bytes).expect("inside");
    bytes
}
