//! The memory table of a session: what the front-end says of its memory, checked and mapped.

use crate::memory::{DeviceRing, GuestMemory, Mapping};
use crate::message::Fault;
use crate::message::body::Region;
use sluice_abi::Gpa;
use sluice_abi::directory::Queue;
use std::fs::File;
use std::rc::Rc;

/// The memory table of a session. See: "Vhost-user Protocol", "Memory regions description".
pub struct MemoryTable {
    memory: Rc<GuestMemory>,
    areas: Vec<(Region, File)>,
}

impl MemoryTable {
    /// Maps the regions, each by its file. Refused are regions that overlap in the guest-physical space or in the
    /// front-end's own, in which only ring addresses are given, and a region that its file is too short for.
    pub fn new(areas: Vec<(Region, File)>) -> Result<Self, Fault> {
        let mut mappings = Vec::new();
        for (index, (region, file)) in areas.iter().enumerate() {
            let Region { gpa, len, offset, .. } = *region;
            if let Some((other, _)) = areas.iter().take(index).find(|(other, _)| overlap(other, region)) {
                let other = other.gpa;
                return Err(Fault::Value(format!("memory region at {gpa:#x} overlaps with the one at {other:#x}")));
            }
            let mapping = Mapping::of_file(file, offset, len);
            let refused = |error| Fault::Value(format!("memory region at {gpa:#x}: {error}"));
            mappings.push((Gpa(gpa), mapping.map_err(refused)?));
        }
        let memory = GuestMemory::new(mappings);
        let memory = memory.map_err(|clause| Fault::Value(format!("memory regions: {clause:?}")))?;
        Ok(Self { memory: Rc::new(memory), areas })
    }

    /// Returns the regions, each with the file that shares it.
    pub fn regions(&self) -> &[(Region, File)] {
        &self.areas
    }

    /// Returns the ring that `queue` describes, which goes on at `base` if there is one.
    pub fn ring(&self, queue: &Queue, base: Option<u32>) -> Result<DeviceRing, Fault> {
        let ring = DeviceRing::new(&self.memory, queue, base);
        ring.map_err(|clause| Fault::Value(format!("ring {}: {clause:?}", queue.index)))
    }

    /// Returns the guest-physical address of what the front-end has at `user`, or `None` if that lies in no region. The
    /// caller checks how far it reaches.
    pub fn gpa(&self, user: u64) -> Option<Gpa> {
        let (area, _) = self.areas.iter().find(|(area, _)| user.wrapping_sub(area.user) < area.len)?;
        Some(Gpa(area.gpa + (user - area.user)))
    }
}

/// Returns whether two regions have bytes in common, in either space. Neither reaches beyond 64 bits.
fn overlap(one: &Region, other: &Region) -> bool {
    let meet = |a: u64, b: u64| a < b + other.len && b < a + one.len;
    meet(one.gpa, other.gpa) || meet(one.user, other.user)
}
