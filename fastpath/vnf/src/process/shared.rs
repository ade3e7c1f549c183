//! What the launcher shares with this process: descriptors of fixed numbers, and the memory behind them, mapped into
//! one sluice slot.
#![allow(unsafe_code, reason = "takes descriptors by number, and maps memory")]

use crate::SetupError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::fstat;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use sluice::{Access, AccessMemory, PacketMemory, PeerSlice};
use sluice_abi::map::{self, SLOT_LEN};
use std::io;
use std::ptr::null_mut;

/// Returns a copy of descriptor `number`, which the launcher passed.
pub fn inherited(number: u16) -> io::Result<OwnedFd> {
    // SAFETY: the launcher passes these numbers open, and nothing here closes them; of one that isn't open there is no
    // copy.
    unsafe { BorrowedFd::borrow_raw(number.into()) }.try_clone_to_owned()
}

/// A range of addresses as long as the sluice slot, with shared memory mapped into it at the slot's offsets. The range
/// stays for as long as the process.
pub struct Slot {
    all: PeerSlice<'static>,
    directory: Option<PeerSlice<'static>>,
    request: Option<PeerSlice<'static>>,
    /// An [`Access`] was made.
    is_taken: bool,
}

impl Slot {
    /// Reserves the range; nothing is mapped in it.
    pub fn reserve() -> io::Result<Self> {
        // SAFETY: a new range of the kernel's choice.
        let base = unsafe {
            mmap_anonymous(null_mut(), SLOT_LEN as usize, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
        }?;
        // SAFETY: the range stays, and only this slice and its parts lead into it.
        let all = unsafe { PeerSlice::from_raw(base.cast(), SLOT_LEN) };
        Ok(Self { all, directory: None, request: None, is_taken: false })
    }

    /// Maps all of `file` at slot offset `offset`, for reading and writing.
    pub fn map(&self, offset: u64, file: &impl AsFd) -> io::Result<PeerSlice<'static>> {
        self.map_with(offset, file, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps all of `file` at slot offset `offset`, for reading.
    pub fn map_read_only(&self, offset: u64, file: &impl AsFd) -> io::Result<PeerSlice<'static>> {
        self.map_with(offset, file, ProtFlags::READ)
    }

    /// Maps the window directory, which is `file`, for reading.
    pub fn map_directory(&mut self, file: &impl AsFd) -> io::Result<()> {
        self.directory = Some(self.map_read_only(map::DIRECTORY, file)?);
        Ok(())
    }

    /// Maps the request block, which is `file`, for reading and writing.
    pub fn map_request(&mut self, file: &impl AsFd) -> io::Result<()> {
        self.request = Some(self.map(map::REQUEST, file)?);
        Ok(())
    }

    fn map_with(&self, offset: u64, file: &impl AsFd, access: ProtFlags) -> io::Result<PeerSlice<'static>> {
        let len = fstat(file)?.st_size as u64;
        let part = self.all.sub(offset, len);
        let part = part.map_err(|_| io::Error::other(format!("{len} bytes do not fit at slot offset {offset:#x}")))?;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: replaces a part of the reservation, to which only PeerSlices lead.
        unsafe { mmap(part.as_ptr().cast(), len as usize, access, flags, file, 0) }?;
        Ok(part)
    }

    /// Returns what an access to the peers needs beside packet memory, once.
    pub fn access_pages(&mut self) -> Result<AccessPages, SetupError> {
        if std::mem::replace(&mut self.is_taken, true) {
            return Err(SetupError::Taken);
        }
        let (directory, request) = self.directory.zip(self.request).ok_or(SetupError::NoMemory)?;
        Ok(AccessPages { directory, request, slot: self.all })
    }
}

/// What an [`Access`] needs, beside packet memory.
pub struct AccessPages {
    directory: PeerSlice<'static>,
    request: PeerSlice<'static>,
    slot: PeerSlice<'static>,
}

impl AccessPages {
    /// Returns the access to the peers, for packets in `packets`.
    pub fn access(self, packets: PacketMemory) -> Access {
        Access::direct(AccessMemory {
            directory: self.directory,
            request: self.request,
            packets: packets.memory,
            slot: sluice::Slot::of(self.slot),
            state: Box::leak(Box::default()),
        })
    }
}
