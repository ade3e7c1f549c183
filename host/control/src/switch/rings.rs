//! What the switch needs of queues: their device side, together with the memory that their descriptors may name.
//!
//! # Why a trait
//! A VM of the monitor or of the launcher has its RAM for as long as the host runs, so [`super::RamRings`] keeps rings
//! beside it. The memory of a vhost-user session goes away with the session, and a ring of such memory stays with whom
//! keeps it mapped.

use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_abi::net::Hdr;
use sluice_inside::{Dequeue, DeviceQueue, Enqueue, Regions};
use sluice_memory::{PeerSlice, Words};

/// The device side of a queue. Each function does what [`DeviceQueue`] says of it.
pub trait Ring {
    /// See: [`DeviceQueue::next_used`].
    fn next_used(&self) -> Gpa;
    /// See: [`DeviceQueue::enqueue`].
    fn enqueue(&mut self, hdr: &Hdr, frame: PeerSlice<'_>, min_buffer: u32) -> Result<Enqueue, Clause>;
    /// See: [`DeviceQueue::dequeue`].
    fn dequeue(&mut self, into: PeerSlice<'_>) -> Result<Dequeue, Clause>;
    /// See: [`DeviceQueue::respond`].
    fn respond(&mut self, into: &mut [u8], answer: impl FnOnce(Option<&[u8]>) -> u8) -> Result<bool, Clause>;
    /// See: [`DeviceQueue::publish`].
    fn publish(&mut self);
    /// See: [`DeviceQueue::needs_notification`].
    fn needs_notification(&mut self) -> bool;
    /// See: [`DeviceQueue::ask_for_notifications`].
    fn ask_for_notifications(&mut self, on: bool);
    /// See: [`DeviceQueue::available`].
    fn available(&self) -> Result<u16, Clause>;
}

/// The rings of all ports.
pub trait Rings {
    /// One ring, for as long as the switch uses it.
    type Ring<'r>: Ring
    where
        Self: 'r;

    /// Returns the device side of `queue`, which VM `vm`'s driver has in use; `None` if there is none, or it broke the
    /// protocol since it was started.
    fn ring(&mut self, vm: u32, queue: &Queue) -> Option<Self::Ring<'_>>;

    /// Stops the use of queue `index` of VM `vm`, which broke the protocol by `clause`, until its driver starts it
    /// anew.
    fn blame(&mut self, vm: u32, index: u16, clause: Clause);

    /// Returns the number of queues of VM `vm` that broke the protocol.
    fn broken(&self, vm: u32) -> u64;
}

/// A ring in memory that stays.
impl Ring for (&mut DeviceQueue, &Regions) {
    fn next_used(&self) -> Gpa {
        self.0.next_used()
    }

    fn enqueue(&mut self, hdr: &Hdr, frame: PeerSlice<'_>, min_buffer: u32) -> Result<Enqueue, Clause> {
        self.0.enqueue(self.1, hdr, frame, min_buffer, Words)
    }

    fn dequeue(&mut self, into: PeerSlice<'_>) -> Result<Dequeue, Clause> {
        self.0.dequeue(self.1, into, Words)
    }

    fn respond(&mut self, into: &mut [u8], answer: impl FnOnce(Option<&[u8]>) -> u8) -> Result<bool, Clause> {
        self.0.respond(self.1, into, answer)
    }

    fn publish(&mut self) {
        self.0.publish();
    }

    fn needs_notification(&mut self) -> bool {
        self.0.needs_notification()
    }

    fn ask_for_notifications(&mut self, on: bool) {
        self.0.ask_for_notifications(on);
    }

    fn available(&self) -> Result<u16, Clause> {
        self.0.available()
    }
}
