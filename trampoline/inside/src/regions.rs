//! A peer's memory, as its directory entry lists it.

use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::directory::MAX_REGIONS;
use sluice_memory::{OutOfRegion, PeerSlice, SharedMemory};

/// One run of a peer's guest-physical space, and where it is mapped.
#[derive(Clone, Copy)]
struct Region {
    gpa: u64,
    memory: PeerSlice<'static>,
}

/// All memory of one peer that its descriptors may point into (rule G8).
#[derive(Clone, Copy)]
pub struct Regions {
    first: Region,
    others: [Option<Region>; MAX_REGIONS - 1],
}

impl Regions {
    /// Returns the regions that start at these addresses of the peer's space, anywhere in this process. Speculation is
    /// not bounded here: that is the host's own risk.
    pub fn from_slices(slices: &[(Gpa, PeerSlice<'static>)]) -> Result<Self, Clause> {
        Self::collect(slices.iter().map(|&slice| Ok(slice)))
    }

    pub(crate) fn collect(
        mut regions: impl Iterator<Item = Result<(Gpa, PeerSlice<'static>), Clause>>,
    ) -> Result<Self, Clause> {
        let region = |(gpa, memory): (Gpa, PeerSlice<'static>)| {
            gpa.checked_add(memory.len()).ok_or(Clause::Layout)?;
            Ok(Region { gpa: gpa.0, memory })
        };
        let first = regions.next().ok_or(Clause::Layout)?.and_then(region)?;
        let mut others = [None; MAX_REGIONS - 1];
        for slot in &mut others {
            *slot = regions.next().transpose()?.map(region).transpose()?;
        }
        if regions.next().is_some() {
            return Err(Clause::Layout);
        }
        Ok(Self { first, others })
    }

    /// Returns each region, the first one first, as its start in the peer's guest-physical space and its bytes.
    #[inline(always)]
    pub(crate) fn all(&self) -> impl Iterator<Item = (Gpa, PeerSlice<'static>)> {
        [&self.first].into_iter().chain(self.others.iter().flatten()).map(|region| (Gpa(region.gpa), region.memory))
    }

    /// Returns the region that `at` lies in.
    #[inline(never)]
    pub(crate) fn around(&self, at: Gpa) -> Option<(Gpa, PeerSlice<'static>)> {
        let holds = |region: &Region| at.0.wrapping_sub(region.gpa) < region.memory.len();
        if holds(&self.first) {
            return Some((Gpa(self.first.gpa), self.first.memory));
        }
        let other = self.others.iter().flatten().find(|&region| holds(region))?;
        Some((Gpa(other.gpa), other.memory))
    }

    /// Returns the address behind the last byte of all regions.
    pub(crate) fn end(&self) -> Gpa {
        Gpa(self.all().map(|(start, memory)| start.0 + memory.len()).max().unwrap_or(0))
    }

    /// Returns the memory as [`SharedMemory::slice`] does. The result outlives this list, as the memory does.
    #[inline(always)]
    pub fn find(&self, at: Gpa, len: u64) -> Result<PeerSlice<'static>, OutOfRegion> {
        match self.first.memory.sub(at.0.wrapping_sub(self.first.gpa), len) {
            Ok(slice) => Ok(slice),
            Err(_) => self.find_in_others(at, len),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_in_others(&self, at: Gpa, len: u64) -> Result<PeerSlice<'static>, OutOfRegion> {
        for region in self.others.iter().flatten() {
            if let Ok(slice) = region.memory.sub(at.0.wrapping_sub(region.gpa), len) {
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
