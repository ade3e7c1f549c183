//! A ring of any port: in the memory of a front-end or process, or a direction of a tap.

use crate::queue_lock::Lock;
use crate::tap::TapRing;
use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::net::Hdr;
use sluice_control::Ring;
use sluice_inside::{Dequeue, Enqueue};
use sluice_memory::PeerSlice;
use sluice_vhost_user::memory::DeviceRing;

/// A ring of a port.
pub enum PortRing<'r> {
    Device(&'r mut DeviceRing),
    Shared(SharedRing<'r>),
    Tap(TapRing<'r>),
}

/// A receive queue that windows fill, too. It has the lock for as long as it lives; if that is another's, the queue is
/// as good as full.
pub struct SharedRing<'r> {
    ring: &'r mut DeviceRing,
    lock: Option<&'r mut Lock>,
}

impl<'r> SharedRing<'r> {
    /// Takes `lock`, if it can be had now, and goes on where the producer before came.
    pub fn new(ring: &'r mut DeviceRing, lock: &'r mut Lock) -> Self {
        let lock = lock.take(ring).then_some(lock);
        Self { ring, lock }
    }
}

impl Drop for SharedRing<'_> {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            lock.release(self.ring);
        }
    }
}

/// Calls a function of the ring that `$ring` is.
macro_rules! each {
    ($ring:expr, $inner:ident => $call:expr) => {
        match $ring {
            PortRing::Device($inner) | PortRing::Shared(SharedRing { ring: $inner, .. }) => $call,
            PortRing::Tap($inner) => $call,
        }
    };
}

impl Ring for PortRing<'_> {
    fn next_used(&self) -> Gpa {
        match self {
            Self::Device(ring) | Self::Shared(SharedRing { ring, .. }) => ring.queue().next_used(),
            Self::Tap(ring) => ring.next_used(),
        }
    }

    fn enqueue(&mut self, hdr: &Hdr, frame: PeerSlice<'_>, min_buffer: u32) -> Result<Enqueue, Clause> {
        match self {
            Self::Shared(SharedRing { lock: None, .. }) => Ok(Enqueue::Full),
            ring => each!(ring, ring => ring.enqueue(hdr, frame, min_buffer)),
        }
    }

    fn dequeue(&mut self, into: PeerSlice<'_>) -> Result<Dequeue, Clause> {
        each!(self, ring => ring.dequeue(into))
    }

    fn respond(&mut self, into: &mut [u8], answer: impl FnOnce(Option<&[u8]>) -> u8) -> Result<bool, Clause> {
        each!(self, ring => ring.respond(into, answer))
    }

    fn publish(&mut self) {
        each!(self, ring => ring.publish());
    }

    fn needs_notification(&mut self) -> bool {
        each!(self, ring => ring.needs_notification())
    }

    fn ask_for_notifications(&mut self, on: bool) {
        each!(self, ring => ring.ask_for_notifications(on));
    }

    fn available(&self) -> Result<u16, Clause> {
        match self {
            Self::Device(ring) | Self::Shared(SharedRing { ring, .. }) => ring.queue().available(),
            Self::Tap(ring) => ring.available(),
        }
    }
}
