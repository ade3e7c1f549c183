//! A front-end's memory: what it says of it, checked, and mapped.
#![allow(unsafe_code, reason = "hands mappings to queues that are dropped first")]

use super::device::refuse;
use crate::memory::Mapping;
use sluice_abi::Gpa;
use sluice_inside::Regions;
use std::fs::File;
use vhost::vhost_user::Result;
use vhost::vhost_user::message::VhostUserMemoryRegion;

/// Memory regions of one SET_MEM_TABLE. See: vhost-user, "Memory regions description".
const MAX_REGIONS: usize = 8;

/// The memory table of a session. See: "Vhost-user Protocol", "Memory regions description".
pub struct Memory {
    /// For queues. Before the mappings, as it is dropped in this order.
    regions: Regions,
    areas: Vec<Area>,
}

/// A region and its place in the front-end's own address space, which only ring addresses are given in.
struct Area {
    gpa: u64,
    user: u64,
    len: u64,
    _mapping: Mapping,
}

impl Memory {
    /// Maps the regions of `table`, each by its file. Refused: none, more than a queue can have, regions that overlap, or that a file is
    /// too short for.
    pub fn new(table: &[VhostUserMemoryRegion], files: &[File]) -> Result<Self> {
        if table.is_empty() || table.len() > MAX_REGIONS || table.len() != files.len() {
            return refuse(format!(
                "{} memory regions with {} files, of at most {MAX_REGIONS}",
                table.len(),
                files.len()
            ));
        }
        let (mut areas, mut slices) = (Vec::<Area>::new(), Vec::new());
        for (region, file) in table.iter().zip(files) {
            let (gpa, user, len) = (region.guest_phys_addr, region.user_addr, region.memory_size);
            if let Some(other) = areas.iter().find(|area| area.overlaps(gpa, user, len)) {
                return refuse(format!("memory region at {gpa:#x} overlaps with the one at {:#x}", other.gpa));
            }
            let mapping = Mapping::of_file(file, region.mmap_offset, len)
                .or_else(|error| refuse(format!("memory region at {gpa:#x}: {error}")))?;
            // SAFETY: regions and queues are dropped, or made anew, before the mappings (Memory's and Device's order of fields,
            // Device::set_memory).
            slices.push((Gpa(gpa), unsafe { mapping.lasting_slice() }));
            areas.push(Area { gpa, user, len, _mapping: mapping });
        }
        let regions = Regions::from_slices(&slices).or_else(|clause| refuse(format!("memory regions: {clause:?}")))?;
        Ok(Self { regions, areas })
    }

    /// The same for queues.
    pub const fn regions(&self) -> &Regions {
        &self.regions
    }

    /// The guest-physical address of what the front-end has at `user`; `None` if it is in no region. How far it goes is the queue's to check.
    pub fn gpa(&self, user: u64) -> Option<Gpa> {
        let area = self.areas.iter().find(|area| user.wrapping_sub(area.user) < area.len)?;
        Some(Gpa(area.gpa + (user - area.user)))
    }
}

impl Area {
    fn overlaps(&self, gpa: u64, user: u64, len: u64) -> bool {
        // No sum wraps: the crate vhost refuses regions that do.
        let meet = |a: u64, b: u64| a < b.saturating_add(len) && b < a.saturating_add(self.len);
        meet(self.gpa, gpa) || meet(self.user, user)
    }
}
