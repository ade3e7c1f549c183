//! Memory that can't be left.

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use sluice_memory::PeerSlice;
use std::ptr::null_mut;

const PAGE: usize = 4096;
/// Bytes before and after a run that nothing can be read from or written to.
const GUARD: usize = 64 * 1024;

/// A run of bytes that ends where the last page does, between guards.
pub struct Guarded(PeerSlice<'static>);

impl Guarded {
    /// `len` bytes, a multiple of 16. Never freed.
    pub fn new(len: usize) -> Self {
        let pages = len.next_multiple_of(PAGE);
        let all = GUARD + pages + GUARD;
        // SAFETY: a new mapping wherever the system likes.
        let base = unsafe { mmap_anonymous(null_mut(), all, ProtFlags::empty(), MapFlags::PRIVATE) }.expect("memory");
        // SAFETY: within the mapping, and nothing is in it yet.
        unsafe { mprotect(base.byte_add(GUARD), pages, MprotectFlags::READ | MprotectFlags::WRITE) }.expect("memory");
        let start = base.cast::<u8>().wrapping_add(GUARD + pages - len);
        // SAFETY: mapped, never unmapped, and reached through this slice and its parts only.
        Self(unsafe { PeerSlice::from_raw(start, len as u64) })
    }

    /// The run.
    pub fn slice(&self) -> PeerSlice<'static> {
        self.0
    }

    /// Makes every byte `value`.
    pub fn fill(&self, value: u8) {
        self.0.copy_from_slice(0, &vec![value; self.0.len() as usize]).expect("all of it");
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.0.len() as usize];
        self.0.copy_to_slice(0, &mut bytes).expect("all of it");
        bytes
    }
}
