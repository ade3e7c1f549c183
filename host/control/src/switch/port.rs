//! A port: the device side of those of a VM's queues that the switch serves.

use super::{Counters, Told};
use crate::device::{Device, MAX_QUEUES};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use sluice_abi::Gpa;
use sluice_abi::directory::Queue;
use sluice_inside::{DeviceQueue, Regions};
use sluice_memory::PeerSlice;

/// The port of one VM.
pub(super) struct Port {
    /// All of the VM's RAM, in which its driver may put queues and buffers anywhere.
    regions: Regions,
    queues: [Option<Attached>; MAX_QUEUES],
    /// The pair whose frames the next service takes first.
    first: u16,
    /// The ports to which its frames may be forwarded.
    pub lan: Vec<usize>,
    pub counters: Counters,
}

/// A queue that its driver started.
struct Attached {
    queue: Queue,
    /// The device side of the queue; `None` if it broke the protocol, or is no valid queue.
    ring: Option<Box<DeviceQueue>>,
}

impl Port {
    pub fn new(ram: PeerSlice<'static>, lan: Vec<usize>) -> Option<Self> {
        let regions = Regions::from_slices(&[(Gpa(0), ram)]).ok()?;
        Some(Self { regions, queues: [const { None }; MAX_QUEUES], first: 0, lan, counters: Counters::default() })
    }

    /// Returns the device side of `queue`, which the driver has in use, and the memory that its descriptors may name;
    /// `None` if there is no such queue, or it broke the protocol since it was started.
    pub fn ring(&mut self, queue: Option<Queue>) -> Option<(&mut DeviceQueue, &Regions)> {
        let queue = queue?;
        let attached = self.queues.get_mut(usize::from(queue.index))?;
        if attached.as_ref().is_none_or(|attached| attached.queue != queue) {
            let ring = DeviceQueue::new(&queue, &self.regions).map(Box::new).ok();
            self.counters.broken += u64::from(ring.is_none());
            *attached = Some(Attached { queue, ring });
        }
        let ring = attached.as_mut()?.ring.as_deref_mut()?;
        Some((ring, &self.regions))
    }

    /// Returns the queue pair, of `pairs`, whose frames a service takes first. Each pair has its turn, so one that
    /// always has frames does not block another.
    pub const fn next_pair(&mut self, pairs: u16) -> u16 {
        let first = if self.first < pairs { self.first } else { 0 };
        self.first = first + 1;
        first
    }

    /// Stops the use of queue `index`, which broke the protocol, until its driver starts it anew.
    pub fn blame(&mut self, index: u16) {
        if let Some(Some(attached)) = self.queues.get_mut(usize::from(index)) {
            self.counters.broken += u64::from(attached.ring.take().is_some());
        }
    }

    /// Adds the notification `driver` to those that the caller of the service sends.
    pub fn tell(&mut self, driver: Told, told: &mut BTreeSet<Told>) {
        self.counters.notified += u64::from(told.insert(driver));
    }

    /// Asks the driver to notify the host of the next buffer on queue `index`. Returns whether there is one already.
    pub fn is_pending(&mut self, device: &Device, index: u16) -> bool {
        let Some((ring, _)) = self.ring(device.queue(index)) else { return false };
        ring.ask_for_notifications(true);
        match ring.available() {
            Ok(available) => available > 0,
            Err(_) => {
                self.blame(index);
                false
            }
        }
    }
}
