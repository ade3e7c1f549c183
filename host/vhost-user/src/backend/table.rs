//! The memory table of a session: what the front-end says of its memory, checked and mapped.

use super::vring::refuse;
use crate::memory::{DeviceRing, GuestMemory, Mapping};
use sluice_abi::Gpa;
use sluice_abi::directory::Queue;
use std::fs::File;
use std::rc::Rc;
use vhost::vhost_user::Result;
use vhost::vhost_user::message::VhostUserMemoryRegion;

/// The largest number of memory regions of one SET_MEM_TABLE. See: "Vhost-user Protocol", "Memory regions description".
const MAX_REGIONS: usize = 8;

/// The memory table of a session. See: "Vhost-user Protocol", "Memory regions description".
pub struct MemoryTable {
    memory: Rc<GuestMemory>,
    areas: Vec<Area>,
}

/// Where a region lies in the guest-physical space, and in the front-end's own, in which only ring addresses are given.
#[derive(Clone, Copy)]
struct Area {
    gpa: u64,
    user: u64,
    len: u64,
}

impl MemoryTable {
    /// Maps the regions of `table`, each by its file. Refused are an empty table, more regions than a queue can have,
    /// regions that overlap, and a region that its file is too short for.
    pub fn new(table: &[VhostUserMemoryRegion], files: &[File]) -> Result<Self> {
        let (regions, count) = (table.len(), files.len());
        if table.is_empty() || table.len() > MAX_REGIONS || regions != count {
            return refuse(format!("{regions} memory regions with {count} files, of at most {MAX_REGIONS}"));
        }
        let (mut areas, mut mappings) = (Vec::new(), Vec::new());
        for (region, file) in table.iter().zip(files) {
            let area = Area::of(region, &areas)?;
            let mapping = Mapping::of_file(file, region.mmap_offset, area.len)
                .or_else(|error| refuse(format!("memory region at {:#x}: {error}", area.gpa)))?;
            mappings.push((Gpa(area.gpa), mapping));
            areas.push(area);
        }
        let memory = GuestMemory::new(mappings).or_else(|clause| refuse(format!("memory regions: {clause:?}")))?;
        Ok(Self { memory: Rc::new(memory), areas })
    }

    /// Returns the ring that `queue` describes, which goes on at `base` if there is one.
    pub fn ring(&self, queue: &Queue, base: Option<u32>) -> Result<DeviceRing> {
        let ring = DeviceRing::new(&self.memory, queue, base);
        ring.or_else(|clause| refuse(format!("ring {}: {clause:?}", queue.index)))
    }

    /// Returns the guest-physical address of what the front-end has at `user`, or `None` if that lies in no region. The
    /// caller checks how far it reaches.
    pub fn gpa(&self, user: u64) -> Option<Gpa> {
        let area = self.areas.iter().find(|area| user.wrapping_sub(area.user) < area.len)?;
        Some(Gpa(area.gpa + (user - area.user)))
    }
}

impl Area {
    /// Returns the area of `region`, unless it overlaps with one of `others`.
    fn of(region: &VhostUserMemoryRegion, others: &[Self]) -> Result<Self> {
        let (gpa, user, len) = (region.guest_phys_addr, region.user_addr, region.memory_size);
        match others.iter().find(|other| other.overlaps(gpa, user, len)) {
            Some(other) => refuse(format!("memory region at {gpa:#x} overlaps with the one at {:#x}", other.gpa)),
            None => Ok(Self { gpa, user, len }),
        }
    }

    fn overlaps(&self, gpa: u64, user: u64, len: u64) -> bool {
        // No sum wraps: the crate vhost refuses regions that do.
        let meet = |a: u64, b: u64| a < b.saturating_add(len) && b < a.saturating_add(self.len);
        meet(self.gpa, gpa) || meet(self.user, user)
    }
}
