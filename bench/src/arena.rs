//! Memory: the driver's, and beside it the frames to send. Both lie in the sluice slot, where the window image expects
//! them.
//!
//! A buffer, or a frame, is an odd number of cache lines away from the next, as in any packet pool: at a power of two
//! all of them would fight for the same few sets of the caches.

use crate::slot::{map_at, whole};
use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use sluice_abi::directory::Region;
use sluice_abi::{Gpa, PeerIdx, map};
use sluice_inside::Slot;
use sluice_memory::PeerSlice;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};

/// Entries of a ring, buffers of a driver, and frames to send.
pub const SIZE: u16 = 256;
/// Bytes that a ring has for its areas.
pub const RING_LEN: u64 = 0x4000;
/// Where the first ring is; address 0 is none for some.
const RINGS: u64 = 0x4000;
/// Rings that there is room for.
const MAX_RINGS: u64 = 24;
/// Where the buffers are.
const BUFFERS: u64 = RINGS + MAX_RINGS * RING_LEN;
/// Bytes between the end of one buffer and the next, and between frames. As they differ, where a frame lies in its page
/// says nothing about where its buffer does; copies between like places of two pages are slow.
const GAP: u64 = 192;
const FRAME_GAP: u64 = 320;
/// Alignment of the memory behind the buffers: the longest buffer that is used.
const MORE: u64 = 0x4000;
const _: () = assert!(BUFFERS.is_multiple_of(MORE));
/// From the device sides' view of a driver's memory to the driver's own.
const DRIVER_VIEW: u64 = map::PEER_STRIDE / 2;
/// Largest distance of two arenas' frames.
const PACKETS_STRIDE: u64 = map::PACKETS_LEN / MAX_ARENAS as u64;
/// Arenas of one process.
const MAX_ARENAS: u8 = 32;

/// Memory of one driver, and frames to send.
pub struct Arena {
    /// The driver's memory as a file.
    pub file: OwnedFd,
    /// The driver's memory, from its guest-physical address 0 on, as device sides see it.
    pub memory: PeerSlice<'static>,
    /// The driver's address of the same memory. It is never the device side's address: some caches know lines by linear
    /// address, and whoever had the driver's would find its lines for nothing.
    pub driver_memory: PeerSlice<'static>,
    /// The frames.
    pub packets: PeerSlice<'static>,
    /// Bytes of a buffer.
    pub buffer_len: u32,
    /// Which of the process's arenas this is, from 0 on.
    pub place: u8,
    rings: u64,
    more: u32,
}

impl Arena {
    /// For buffers of `buffer_len` bytes. It stays mapped for as long as the program runs.
    pub fn new(buffer_len: u32) -> Result<Self> {
        Self::with_more(buffer_len, 0)
    }

    /// Returns the arena with `more` bytes of the driver's memory that are not used yet.
    pub fn with_more(buffer_len: u32, more: u32) -> Result<Self> {
        static PLACES: AtomicU8 = AtomicU8::new(0);
        let place = PLACES.fetch_add(1, Ordering::Relaxed);
        if place >= MAX_ARENAS {
            bail!("there is room for {MAX_ARENAS} drivers' memory");
        }
        let all = |gap: u64| (u64::from(SIZE) * (u64::from(buffer_len) + gap)).next_multiple_of(map::PAGE);
        let len = BUFFERS + all(GAP).next_multiple_of(MORE) + u64::from(more);
        let file = memfd_create("driver", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, len)?;
        let arena = Self {
            memory: map_at(map::peer_base(PeerIdx(place)), len, Some(&file))?,
            driver_memory: map_at(map::peer_base(PeerIdx(place)) + DRIVER_VIEW, len, Some(&file))?,
            packets: map_at(map::PACKETS + u64::from(place) * PACKETS_STRIDE, all(FRAME_GAP), None)?,
            file,
            buffer_len,
            place,
            rings: 0,
            more,
        };
        for index in 0..SIZE {
            let bytes = frame(index, buffer_len as usize);
            arena.packets.copy_from_slice(arena.frame_at(index), &bytes).map_err(|_| anyhow!("a frame is outside"))?;
        }
        Ok(arena)
    }

    /// Where the next ring has its areas, and these, as the driver sees them.
    pub fn ring(&mut self) -> Result<(Gpa, PeerSlice<'static>)> {
        let at = RINGS + self.rings * RING_LEN;
        self.rings += 1;
        let memory = self.driver_memory.sub(at, RING_LEN).ok().filter(|_| self.rings <= MAX_RINGS);
        Ok((Gpa(at), memory.context("too many rings")?))
    }

    /// Where the bytes are that [`Arena::with_more`] was asked for, and these, as the driver sees them.
    pub fn more(&self) -> Result<(Gpa, PeerSlice<'static>)> {
        let at = self.memory.len() - u64::from(self.more).next_multiple_of(map::PAGE);
        let memory = self.driver_memory.sub(at, self.more.into());
        Ok((Gpa(at), memory.ok().context("no more memory")?))
    }

    /// Where the buffer of slot `slot` is.
    pub fn buffer_at(&self, slot: u16) -> Gpa {
        Gpa(BUFFERS + u64::from(slot) * (u64::from(self.buffer_len) + GAP))
    }

    /// Where frame `index` is in `packets`.
    pub fn frame_at(&self, index: u16) -> u64 {
        u64::from(index) * (u64::from(self.buffer_len) + FRAME_GAP)
    }

    /// The driver's memory as a directory lists it, and the slot that the entry refers to: the memory alone.
    pub fn region(&self) -> (Region, Slot) {
        (Region { gpa: Gpa(0), len: self.memory.len(), slot_offset: 0 }, Slot::of(self.memory))
    }

    /// The same, and the whole slot, in which the peer at `index` now has the page of a lock.
    pub fn region_with_lock(&self, index: PeerIdx) -> Result<(Region, Slot)> {
        map_at(map::peer_base(index) + map::PEER_LOCK, map::PAGE, None)?;
        let slot_offset = map::peer_base(PeerIdx(self.place));
        Ok((Region { gpa: Gpa(0), len: self.memory.len(), slot_offset }, whole()))
    }
}

/// Returns the first bytes of frame `index`; no other frame begins with the same byte.
pub fn frame(index: u16, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7) as u8 ^ (at >> 8) as u8 ^ index as u8).collect()
}
