//! A port: the device side of one VM's queues, as far as the switch has them.

use super::{Counters, Told};
use crate::device::{Device, MAX_QUEUES};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use sluice_abi::Gpa;
use sluice_abi::directory::Queue;
use sluice_inside::{DeviceQueue, Regions};
use sluice_memory::PeerSlice;

/// One VM's port.
pub(super) struct Port {
    /// All of the VM's RAM: its driver may put queues and buffers anywhere in it.
    regions: Regions,
    queues: [Option<Attached>; MAX_QUEUES],
    /// The pair whose frames the next service takes first.
    first: u16,
    /// The ports that its frames may be forwarded to.
    pub lan: Vec<usize>,
    pub counters: Counters,
}

/// A queue from its start on.
struct Attached {
    queue: Queue,
    /// `None` if it broke the protocol, or is no queue.
    ring: Option<Box<DeviceQueue>>,
}

impl Port {
    pub fn new(ram: PeerSlice<'static>, lan: Vec<usize>) -> Option<Self> {
        let regions = Regions::from_slices(&[(Gpa(0), ram)]).ok()?;
        Some(Self { regions, queues: [const { None }; MAX_QUEUES], first: 0, lan, counters: Counters::default() })
    }

    /// The device side of `queue`, which the driver has in use, and the memory that it may name; `None` if there is no
    /// such queue, or it broke the protocol since it was started.
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

    /// The pair, of `pairs`, whose frames a service takes first: each in its turn, so none that always has frames keeps
    /// another's waiting for ever.
    pub const fn next_pair(&mut self, pairs: u16) -> u16 {
        let first = if self.first < pairs { self.first } else { 0 };
        self.first = first + 1;
        first
    }

    /// Queue `index` broke the protocol: nothing more is taken from it or put there until its driver starts it anew.
    pub fn blame(&mut self, index: u16) {
        if let Some(Some(attached)) = self.queues.get_mut(usize::from(index)) {
            self.counters.broken += u64::from(attached.ring.take().is_some());
        }
    }

    /// The driver is to be told, by who serves the port.
    pub fn tell(&mut self, driver: Told, told: &mut BTreeSet<Told>) {
        self.counters.notified += u64::from(told.insert(driver));
    }

    /// Asks the driver to notify the host of the next buffer on queue `index`; whether there is one already.
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
