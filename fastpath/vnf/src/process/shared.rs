//! What the host shares with this process: a launcher's descriptors of fixed numbers, and memory, mapped into one
//! sluice slot.
#![allow(unsafe_code, reason = "takes descriptors by number, and maps memory")]

use crate::SetupError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use sluice::{Access, AccessMemory, PacketMemory, PeerSlice};
use sluice_abi::handover::Place;
use sluice_abi::map::{self, DIRECTORY_LEN, PAGE, PEER_STRIDE, SLOT_LEN};
use sluice_abi::{PeerIdx, directory};
use std::io;
use std::ptr::null_mut;

/// What the slot begins at a multiple of, bytes: the largest page that a peer's memory can have.
const ALIGN: u64 = 1 << 30;

/// Returns a copy of descriptor `number`, which the launcher passed.
pub fn inherited(number: u16) -> io::Result<OwnedFd> {
    // SAFETY: the launcher passes these numbers open, and nothing here closes them; of one that isn't open there is no
    // copy.
    unsafe { BorrowedFd::borrow_raw(number.into()) }.try_clone_to_owned()
}

/// How addresses are kept for later.
const NOTHING: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

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
        let base = unsafe { mmap_anonymous(null_mut(), (SLOT_LEN + ALIGN) as usize, ProtFlags::empty(), NOTHING) }?;
        let before = base.align_offset(ALIGN as usize);
        // SAFETY: the range stays, the slot is a part of it, and only this slice and its parts lead there.
        let all = unsafe { PeerSlice::from_raw(base.cast::<u8>().add(before), SLOT_LEN) };
        Ok(Self { all, directory: None, request: None, is_taken: false })
    }

    /// Maps what `file` has from byte `at` on at slot offset `offset`, for reading and writing.
    pub fn map(&self, offset: u64, file: &impl AsFd, at: u64) -> io::Result<PeerSlice<'static>> {
        self.map_with(offset, file, at, None, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps all of `file` at slot offset `offset`, for reading.
    pub fn map_read_only(&self, offset: u64, file: &impl AsFd) -> io::Result<PeerSlice<'static>> {
        self.map_with(offset, file, 0, None, ProtFlags::READ)
    }

    /// Maps the window directory, which begins at byte `at` of `file`, for reading.
    pub fn map_directory(&mut self, file: &impl AsFd, at: u64) -> io::Result<()> {
        self.directory = Some(self.map_with(map::DIRECTORY, file, at, Some(DIRECTORY_LEN), ProtFlags::READ)?);
        Ok(())
    }

    /// Returns whether a host has written there.
    pub fn has_directory(&self) -> bool {
        self.directory.is_some_and(|it| it.read_own::<u64>(0).is_ok_and(|word| word == directory::MAGIC))
    }

    /// Maps the request block, which begins at byte `at` of `file`, for reading and writing.
    pub fn map_request(&mut self, file: &impl AsFd, at: u64) -> io::Result<()> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        self.request = Some(self.map_with(map::REQUEST, file, at, Some(PAGE), access)?);
        Ok(())
    }

    /// Maps `len` bytes, or all that there are.
    fn map_with(
        &self,
        offset: u64,
        file: &impl AsFd,
        at: u64,
        len: Option<u64>,
        access: ProtFlags,
    ) -> io::Result<PeerSlice<'static>> {
        let size = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
        let most = size.checked_sub(at).filter(|most| len.is_none_or(|len| len <= *most));
        let most = most.ok_or_else(|| io::Error::other(format!("a file of {size} bytes is too short")))?;
        let len = len.unwrap_or(most);
        let part = self.all.sub(offset, len);
        let part = part.map_err(|_| io::Error::other(format!("{len} bytes do not fit at slot offset {offset:#x}")))?;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: replaces a part of the reservation, to which only PeerSlices lead.
        unsafe { mmap(part.as_ptr().cast(), len as usize, access, flags, file, at) }?;
        Ok(part)
    }

    /// Returns where the memory of peers is mapped.
    pub const fn peers(&self) -> Peers {
        Peers(self.all)
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

/// The parts of a slot in which peers' memory is mapped.
pub struct Peers(PeerSlice<'static>);

impl Peers {
    /// Maps each of `places` by its file, and nothing else of the peer. After an error nothing of it is mapped.
    pub fn place(&self, peer: PeerIdx, places: &[(Place, OwnedFd)]) -> rustix::io::Result<()> {
        self.clear(peer)?;
        let mapped = places.iter().try_for_each(|(place, file)| self.map(peer, place, file));
        if mapped.is_err() {
            self.clear(peer)?;
        }
        mapped
    }

    fn clear(&self, peer: PeerIdx) -> rustix::io::Result<()> {
        let part = self.0.sub(map::peer_base(peer), PEER_STRIDE).map_err(|_| Errno::INVAL)?;
        let flags = NOTHING | MapFlags::FIXED;
        // SAFETY: replaces a part of the reservation, to which only PeerSlices lead. The host shows the peer to nobody,
        // and has waited for calls, so none of them is in use.
        unsafe { mmap_anonymous(part.as_ptr().cast(), PEER_STRIDE as usize, ProtFlags::empty(), flags) }?;
        Ok(())
    }

    fn map(&self, peer: PeerIdx, place: &Place, file: &OwnedFd) -> rustix::io::Result<()> {
        let own = self.0.sub(map::peer_base(peer), PEER_STRIDE).map_err(|_| Errno::INVAL)?;
        let offset = place.slot_offset.checked_sub(map::peer_base(peer)).ok_or(Errno::INVAL)?;
        let part = own.sub(offset, place.len).map_err(|_| Errno::INVAL)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
        // SAFETY: as in clear, within the peer's own part.
        unsafe { mmap(part.as_ptr().cast(), place.len as usize, access, flags, file, place.file_offset) }?;
        Ok(())
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

#[cfg(test)]
mod tests;
