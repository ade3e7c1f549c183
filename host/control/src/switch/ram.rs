//! Rings in RAM that VMs have for as long as the host runs.

use super::Rings;
use crate::device::MAX_QUEUES;
use alloc::boxed::Box;
use alloc::vec::Vec;
use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_inside::{DeviceQueue, Regions};
use sluice_memory::PeerSlice;

/// The rings of VMs whose RAM stays.
pub struct RamRings(Vec<VmRings>);

/// The rings of one VM.
struct VmRings {
    /// All of the VM's RAM, in which its driver may put queues and buffers anywhere.
    regions: Regions,
    queues: [Option<Attached>; MAX_QUEUES],
    /// Number of queues that broke the protocol.
    broken: u64,
}

/// A queue that its driver started.
struct Attached {
    queue: Queue,
    /// The device side of the queue; `None` if it broke the protocol, or is no valid queue.
    ring: Option<Box<DeviceQueue>>,
}

impl RamRings {
    /// Returns the rings of VMs with this RAM, from guest-physical address 0 on; `None` if it is too long.
    pub fn new(rams: &[PeerSlice<'static>]) -> Option<Self> {
        let vm = |ram: &PeerSlice<'static>| {
            let regions = Regions::from_slices(&[(Gpa(0), *ram)]).ok()?;
            Some(VmRings { regions, queues: [const { None }; MAX_QUEUES], broken: 0 })
        };
        rams.iter().map(vm).collect::<Option<_>>().map(Self)
    }
}

impl Rings for RamRings {
    type Ring<'r> = (&'r mut DeviceQueue, &'r Regions);

    fn ring(&mut self, vm: u32, queue: &Queue) -> Option<Self::Ring<'_>> {
        let vm = self.0.get_mut(vm as usize)?;
        let attached = vm.queues.get_mut(usize::from(queue.index))?;
        if attached.as_ref().is_none_or(|attached| attached.queue != *queue) {
            let ring = DeviceQueue::new(queue, &vm.regions).map(Box::new).ok();
            vm.broken += u64::from(ring.is_none());
            *attached = Some(Attached { queue: *queue, ring });
        }
        let ring = attached.as_mut()?.ring.as_deref_mut()?;
        Some((ring, &vm.regions))
    }

    fn blame(&mut self, vm: u32, index: u16, _: Clause) {
        let Some(vm) = self.0.get_mut(vm as usize) else { return };
        if let Some(Some(attached)) = vm.queues.get_mut(usize::from(index)) {
            vm.broken += u64::from(attached.ring.take().is_some());
        }
    }

    fn broken(&self, vm: u32) -> u64 {
        self.0.get(vm as usize).map_or(0, |vm| vm.broken)
    }
}
