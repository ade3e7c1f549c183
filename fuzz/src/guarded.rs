//! Memory between guards.

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use sluice_memory::PeerSlice;
use std::ptr::null_mut;

const PAGE: usize = 4096;
/// The number of bytes before and after a run that can't be read or written.
const GUARD: usize = 64 * 1024;

/// A run of bytes that ends at the end of its last page, between guards.
pub struct Guarded(PeerSlice<'static>);

impl Guarded {
    /// Maps a run of `len` bytes, a multiple of 16, which is never unmapped.
    pub fn new(len: usize) -> Self {
        let pages = len.next_multiple_of(PAGE);
        let all = GUARD + pages + GUARD;
        // SAFETY: this is a new mapping at an address of the system's choice.
        let base = unsafe { mmap_anonymous(null_mut(), all, ProtFlags::empty(), MapFlags::PRIVATE) }.expect("memory");
        // SAFETY: the range is within the mapping, and nothing is in it yet.
        unsafe { mprotect(base.byte_add(GUARD), pages, MprotectFlags::READ | MprotectFlags::WRITE) }.expect("memory");
        let start = base.cast::<u8>().wrapping_add(GUARD + pages - len);
        // SAFETY: the bytes are mapped, never unmapped, and only this slice and its parts reach them.
        Self(unsafe { PeerSlice::from_raw(start, len as u64) })
    }

    /// Returns the run.
    pub fn slice(&self) -> PeerSlice<'static> {
        self.0
    }

    /// Sets every byte to `value`.
    pub fn fill(&self, value: u8) {
        self.0.copy_from_slice(0, &vec![value; self.0.len() as usize]).expect("all of it");
    }

    /// Returns a copy of the bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.0.len() as usize];
        self.0.copy_to_slice(0, &mut bytes).expect("all of it");
        bytes
    }
}
