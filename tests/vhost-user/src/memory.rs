//! Mappings: a front-end's memory, our own, and frames between the two.
#![allow(unsafe_code, reason = "maps memory")]

use rustix::fd::AsFd;
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use sluice_memory::PeerSlice;
use std::fs::File;
use std::io;
use std::ptr::null_mut;

/// Memory that is mapped for as long as this lives.
pub struct Mapping {
    base: *mut u8,
    len: usize,
}

// SAFETY: it is an address and a length; what lies there is only touched as PeerSlice does, which counts on others writing it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the `len` bytes at `offset` of `file`, shared. Refused if the file is shorter: a touch beyond its end would end the process.
    ///
    /// A file that is cut later still does that; a product would hold the front-end to a seal, a test peer is trusted so far.
    pub fn of_file(file: &impl AsFd, offset: u64, len: u64) -> io::Result<Self> {
        let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
        let end = offset.checked_add(len).filter(|&end| end <= size && len > 0);
        let fits = end.and_then(|_| usize::try_from(len).ok());
        let len = fits.ok_or_else(|| io::Error::other(format!("{len} bytes at {offset:#x} of a file of {size}")))?;
        // SAFETY: a new range of the kernel's choice.
        let base =
            unsafe { mmap(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, offset) }?;
        Ok(Self { base: base.cast(), len })
    }

    /// `len` zero bytes that nobody else has.
    pub fn private(len: usize) -> io::Result<Self> {
        // SAFETY: a new range of the kernel's choice.
        let base = unsafe { mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }?;
        Ok(Self { base: base.cast(), len })
    }

    /// `len` zero bytes and the file that shares them.
    pub fn shared(len: u64) -> io::Result<(Self, File)> {
        let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC)?);
        ftruncate(&file, len)?;
        Ok((Self::of_file(&file, 0, len)?, file))
    }

    /// All of it.
    pub fn slice(&self) -> PeerSlice<'_> {
        // SAFETY: mapped, readable and writable for as long as self is borrowed; nobody makes references into it.
        unsafe { PeerSlice::from_raw(self.base, self.len as u64) }
    }

    /// All of it, for queues, which ask for memory that stays.
    ///
    /// # Safety
    /// Whatever holds the result, or a part of it, is not used once the mapping is dropped.
    pub unsafe fn lasting_slice(&self) -> PeerSlice<'static> {
        // SAFETY: as in slice, for as long as the caller vouches for.
        unsafe { PeerSlice::from_raw(self.base, self.len as u64) }
    }

    /// Address of the first byte in this process.
    pub fn address(&self) -> u64 {
        self.base as u64
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by the constructors, with this length, and nobody uses it any more (the borrow of slice, the contract of
        // lasting_slice).
        let unmapped = unsafe { munmap(self.base.cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}
