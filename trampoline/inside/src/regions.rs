//! A peer's memory, as its directory entry lists it.
#![allow(unsafe_code, reason = "turns the host's list of regions into checked memory, once per peer")]

use sluice_abi::call::Clause;
use sluice_abi::directory::{MAX_REGIONS, Peer};
use sluice_abi::{Gpa, map};
use sluice_memory::{OutOfRegion, PeerSlice, SharedMemory};

/// One run of a peer's guest-physical space and where it can be reached.
#[derive(Clone, Copy)]
struct Region {
    gpa: u64,
    memory: PeerSlice<'static>,
}

/// All memory of one peer: what its descriptors may point into (rule G8).
#[derive(Clone, Copy)]
pub struct Regions {
    first: Region,
    others: [Option<Region>; MAX_REGIONS - 1],
}

impl Regions {
    /// The regions of `peer`, with slot offset 0 at `base`.
    ///
    /// # Safety
    /// Wherever the result is used, the regions that `peer` lists are mapped at `base` + their slot offsets, readable and
    /// writable, and no Rust reference leads into them.
    pub unsafe fn new(peer: &Peer, base: *mut u8) -> Result<Self, Clause> {
        let listed = peer.regions.get(..peer.region_count as usize).ok_or(Clause::Layout)?;
        let mut regions = listed.iter().map(|region| {
            let end = region.slot_offset.checked_add(region.len).filter(|&end| end <= map::SLOT_LEN);
            end.and(region.gpa.checked_add(region.len)).ok_or(Clause::Layout)?;
            // SAFETY: inside the slot (checked), mapped there (the contract above).
            let memory = unsafe { PeerSlice::from_raw(base.wrapping_add(region.slot_offset as usize), region.len) };
            Ok(Region { gpa: region.gpa.0, memory })
        });
        let first = regions.next().ok_or(Clause::Layout)??;
        // What a wrong guess reaches must be this peer's.
        let place = listed.first().map_or(0, |region| region.slot_offset % map::PEER_STRIDE);
        if place > map::PEER_STRIDE - map::GUESS_REACH {
            return Err(Clause::Layout);
        }
        let mut others = [None; MAX_REGIONS - 1];
        for (slot, region) in others.iter_mut().zip(regions) {
            *slot = Some(region?);
        }
        Ok(Self { first, others })
    }

    /// The first region, and where it starts in the peer's guest-physical space.
    #[inline(always)]
    pub(crate) fn first(&self) -> (Gpa, PeerSlice<'static>) {
        (Gpa(self.first.gpa), self.first.memory)
    }

    /// As [`SharedMemory::slice`]; the result outlives this list, as the memory does.
    #[inline(always)]
    pub fn find(&self, at: Gpa, len: u64) -> Result<PeerSlice<'static>, OutOfRegion> {
        match self.first.memory.claim(at.0.wrapping_sub(self.first.gpa), len) {
            Ok(slice) => Ok(slice),
            Err(_) => self.find_in_others(at, len),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_in_others(&self, at: Gpa, len: u64) -> Result<PeerSlice<'static>, OutOfRegion> {
        for region in self.others.iter().flatten() {
            if let Ok(slice) = region.memory.claim(at.0.wrapping_sub(region.gpa), len) {
                return Ok(slice);
            }
        }
        Err(OutOfRegion { at, len })
    }
}

impl SharedMemory for Regions {
    fn slice(&self, at: Gpa, len: u64) -> Result<PeerSlice<'_>, OutOfRegion> {
        self.find(at, len)
    }
}
