//! Memory that the system maps: behind a file, between guards, or addresses alone.
#![allow(unsafe_code, reason = "maps memory")]

use crate::Runs;
use rustix::fd::AsFd;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect};
use sluice_memory::PeerSlice;
use std::fs::File;
use std::ptr::null_mut;

const PAGE: u64 = crate::ALIGN;
/// The number of bytes before and after a run that can't be read or written.
const GUARD: u64 = 64 * 1024;

/// Returns `len` bytes of addresses, with nothing behind them: whoever reads or writes there ends the program.
pub fn reserved(len: u64) -> PeerSlice<'static> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: this is a new mapping at an address of the system's choice.
    let base = unsafe { mmap_anonymous(null_mut(), len as usize, ProtFlags::empty(), flags) }.expect("addresses");
    // SAFETY: the range is never unmapped, and only this slice and its parts reach it.
    unsafe { PeerSlice::from_raw(base.cast(), len) }
}

/// Returns `len` bytes of 0, and the file behind them, by which others map them too.
pub fn shared(len: u64) -> (PeerSlice<'static>, File) {
    let file = memfd_create("shared", MemfdFlags::CLOEXEC).expect("a file in memory");
    ftruncate(&file, len).expect("a length");
    (map(&file, len), file.into())
}

/// Returns the first `len` bytes of `file`, which [`shared`] of another process made.
pub fn map(file: impl AsFd, len: u64) -> PeerSlice<'static> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: this is a new mapping at an address of the system's choice.
    let base = unsafe { mmap(null_mut(), len as usize, access, MapFlags::SHARED, file, 0) }.expect("memory");
    // SAFETY: the bytes are never unmapped, and no Rust reference leads to them.
    unsafe { PeerSlice::from_raw(base.cast(), len) }
}

/// Returns zeroed runs of `lens` bytes, each of which ends at the end of its last page, with guards around them:
/// whoever reads or writes there ends the program.
pub fn guarded(lens: &[u64]) -> Runs {
    let mut len = GUARD;
    let mut extents = Vec::new();
    for run in lens {
        let pages = run.next_multiple_of(PAGE);
        extents.push((len + pages - run, *run));
        len += pages + GUARD;
    }
    let all = reserved(len);
    for (start, run) in &extents {
        let first = all.as_ptr().wrapping_add((start / PAGE * PAGE) as usize);
        let (pages, access) = (run.next_multiple_of(PAGE) as usize, MprotectFlags::READ | MprotectFlags::WRITE);
        // SAFETY: the pages are in the range that was just reserved, and nothing is in them yet.
        unsafe { mprotect(first.cast(), pages, access) }.expect("memory");
    }
    Runs { all, extents }
}
