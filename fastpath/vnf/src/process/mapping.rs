//! The sluice slot of a process: one reservation, with shared memory mapped into it at the slot's offsets.
#![allow(unsafe_code, reason = "maps memory")]

use rustix::fd::AsFd;
use rustix::fs::fstat;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use sluice::PeerSlice;
use sluice_abi::map::SLOT_LEN;
use std::io;
use std::ptr::null_mut;

/// A range of addresses as long as the sluice slot. It stays for as long as the process.
pub struct Slot(*mut u8);

impl Slot {
    /// Reserves the range; nothing is mapped in it.
    pub fn reserve() -> io::Result<Self> {
        // SAFETY: a new range of the kernel's choice.
        let base = unsafe {
            mmap_anonymous(null_mut(), SLOT_LEN as usize, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
        }?;
        Ok(Self(base.cast()))
    }

    /// First byte of the slot.
    pub fn base(&self) -> *mut u8 {
        self.0
    }

    /// Maps all of `file` at slot offset `offset`, for reading and writing.
    pub fn map(&self, offset: u64, file: &impl AsFd) -> io::Result<PeerSlice<'static>> {
        self.map_with(offset, file, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps all of `file` at slot offset `offset`. Nobody may write through the result.
    pub fn map_read_only(&self, offset: u64, file: &impl AsFd) -> io::Result<PeerSlice<'static>> {
        self.map_with(offset, file, ProtFlags::READ)
    }

    fn map_with(&self, offset: u64, file: &impl AsFd, access: ProtFlags) -> io::Result<PeerSlice<'static>> {
        let len = fstat(file)?.st_size as u64;
        if offset.checked_add(len).is_none_or(|end| end > SLOT_LEN) {
            return Err(io::Error::other(format!("{len} bytes do not fit at slot offset {offset:#x}")));
        }
        // SAFETY: replaces a part of the reservation, which nobody refers to.
        unsafe {
            let at = self.0.wrapping_add(offset as usize);
            mmap(at.cast(), len as usize, access, MapFlags::SHARED | MapFlags::FIXED, file, 0)?;
            Ok(PeerSlice::from_raw(at, len))
        }
    }

    /// Maps `len` bytes of this process's own at slot offset `offset`, zeroed.
    pub fn map_private(&self, offset: u64, len: u64) -> io::Result<PeerSlice<'static>> {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: replaces a part of the reservation, which nobody refers to: offsets and lengths are those of `sluice_abi::map`.
        unsafe {
            let at = self.0.wrapping_add(offset as usize);
            mmap_anonymous(at.cast(), len as usize, ProtFlags::READ | ProtFlags::WRITE, flags)?;
            Ok(PeerSlice::from_raw(at, len))
        }
    }
}
