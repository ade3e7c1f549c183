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
    base: *mut u8,
    directory: Option<PeerSlice<'static>>,
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
        Ok(Self { base: base.cast(), directory: None, is_taken: false })
    }

    /// Maps all of `file` at slot offset `offset`, for reading and writing.
    pub fn map(&self, offset: u64, file: &impl AsFd) -> io::Result<PeerSlice<'static>> {
        self.map_with(offset, file, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps the window directory, which is `file`, for reading.
    pub fn map_directory(&mut self, file: &impl AsFd) -> io::Result<()> {
        self.directory = Some(self.map_with(map::DIRECTORY, file, ProtFlags::READ)?);
        Ok(())
    }

    fn map_with(&self, offset: u64, file: &impl AsFd, access: ProtFlags) -> io::Result<PeerSlice<'static>> {
        let len = fstat(file)?.st_size as u64;
        if offset.checked_add(len).is_none_or(|end| end > SLOT_LEN) {
            return Err(io::Error::other(format!("{len} bytes do not fit at slot offset {offset:#x}")));
        }
        // SAFETY: replaces a part of the reservation, to which only PeerSlices lead.
        unsafe {
            let at = self.base.wrapping_add(offset as usize);
            mmap(at.cast(), len as usize, access, MapFlags::SHARED | MapFlags::FIXED, file, 0)?;
            Ok(PeerSlice::from_raw(at, len))
        }
    }

    /// Maps `len` bytes of this process's own at slot offset `offset`, zeroed.
    pub fn map_private(&self, offset: u64, len: u64) -> io::Result<PeerSlice<'static>> {
        if offset.checked_add(len).is_none_or(|end| end > SLOT_LEN) {
            return Err(io::Error::other(format!("{len} bytes do not fit at slot offset {offset:#x}")));
        }
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: replaces a part of the reservation, to which only PeerSlices lead.
        unsafe {
            let at = self.base.wrapping_add(offset as usize);
            mmap_anonymous(at.cast(), len as usize, ProtFlags::READ | ProtFlags::WRITE, flags)?;
            Ok(PeerSlice::from_raw(at, len))
        }
    }

    /// Returns the pages for an access to the peers, once.
    pub fn access_pages(&mut self) -> Result<AccessPages, SetupError> {
        if std::mem::replace(&mut self.is_taken, true) {
            return Err(SetupError::Taken);
        }
        let private = |offset, len| self.map_private(offset, len).map_err(|_| SetupError::NoMemory);
        let (request, state) = (private(map::request(0), map::PAGE)?, private(map::STATE, map::STATE_LEN)?.as_ptr());
        Ok(AccessPages { directory: self.directory.ok_or(SetupError::NoMemory)?, request, state, slot: self.base })
    }
}

/// The memory that an [`Access`] needs, beside packet memory. There is one of these.
pub struct AccessPages {
    directory: PeerSlice<'static>,
    request: PeerSlice<'static>,
    slot: *mut u8,
    state: *mut u8,
}

impl AccessPages {
    /// Returns the access to the peers, for packets in `packets`.
    pub fn access(self, packets: PacketMemory) -> Access {
        let Self { directory, request, slot, state } = self;
        // SAFETY: the launcher passed the directory, and the memory of the peers, which is mapped where the directory
        // says; all of it stays. The state is used by nobody else, as there is one AccessPages, and only PeerSlices
        // lead to the rest.
        unsafe { Access::new(AccessMemory { directory, request, packets: packets.memory, slot, state }) }
    }
}
