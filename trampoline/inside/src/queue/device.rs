//! The device side of one queue: what its format has to know, and what every format offers.
//!
//! The device uses each buffer as soon as it takes it, so one position counts both: buffers taken and buffers used.
//! Nothing that is used is seen before [`DeviceQueue::publish`], and until then [`DeviceQueue::rewind`] takes it back.
//!
//! # Why an enum and not a trait
//! The format of a queue is known when it is attached, and a burst asks once. A trait object would be an indirect
//! branch (rule G12), and a type parameter would run through window, peers and calls.

use super::chain::Chain;
use super::log::DirtyLog;
use super::packed::Packed;
use super::split::Split;
use crate::{LockPage, Regions};
use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_abi::net::F;
use sluice_abi::virtq;

/// The device side of a virtqueue, of the format and with the features that were negotiated.
#[cfg_attr(test, derive(Clone))]
pub struct DeviceQueue {
    pub(super) ring: Ring,
    pub(super) features: F,
    log: Option<DirtyLog>,
}

#[cfg_attr(test, derive(Clone))]
#[allow(clippy::large_enum_variant, reason = "the larger one has its shadow inside, out of everybody's reach")]
pub(super) enum Ring {
    Split(Split),
    Packed(Packed),
}

/// Features that a queue can have, or that change nothing about rings and headers.
const KNOWN: F = F::all().difference(F::ACCESS_PLATFORM);

impl DeviceQueue {
    /// Returns the queue `queue` in `regions`, from the position that it says.
    pub fn new(queue: &Queue, regions: &Regions) -> Result<Self, Clause> {
        Self::resume(queue, regions, queue.base ^ virtq::start(queue.features))
    }

    /// Returns the queue `queue` in `regions`, from the position that [`DeviceQueue::base`] returned when it was left.
    pub fn resume(queue: &Queue, regions: &Regions, base: u32) -> Result<Self, Clause> {
        let features = F::from_bits(queue.features).filter(|&features| KNOWN.contains(features));
        let features = features.filter(|features| features.contains(F::VERSION_1)).ok_or(Clause::NotNegotiated)?;
        let ring = if features.contains(F::RING_PACKED) {
            Ring::Packed(Packed::new(queue, features, regions, base)?)
        } else {
            Ring::Split(Split::new(queue, features, regions, base)?)
        };
        Ok(Self { ring, features, log: None })
    }

    /// Returns the position of what is published, as vhost-user has it. A split ring has the index of the next
    /// available entry; a packed ring the next slot (bits 14:0) and its wrap counter (15), for taken and once more for
    /// used (30:16, 31). See: "Vhost-user Protocol", "Ring states" and message `VHOST_USER_GET_VRING_BASE`.
    pub fn base(&self) -> u32 {
        match &self.ring {
            Ring::Split(split) => split.base(),
            Ring::Packed(packed) => packed.base(),
        }
    }

    /// Goes on behind what another device side has published in the same ring since this one looked last, and returns
    /// how many entries (modulo 65,536) or slots (modulo 2^32) that are. Where it came a split ring says, and of a
    /// packed ring `page`, in which its progress is. Whoever writes there can spoil the queue, and nothing else. An
    /// error: it is no position of the ring.
    pub fn catch_up(&mut self, page: Option<&LockPage<'_>>) -> Result<u32, Clause> {
        match &mut self.ring {
            Ring::Split(split) => Ok(split.catch_up().into()),
            Ring::Packed(packed) => packed.catch_up(page.ok_or(Clause::Layout)?),
        }
    }

    /// Goes on as [`DeviceQueue::catch_up`] does, as the owner of the lock in `page`, and completes a burst that the
    /// owner before has begun to publish.
    pub fn enter(&mut self, page: &LockPage<'_>) -> Result<(), Clause> {
        match &mut self.ring {
            Ring::Split(split) => {
                split.catch_up();
                Ok(())
            }
            Ring::Packed(packed) => packed.enter(page),
        }
    }

    /// Leaves the position of what is published to the next owner of the lock in `page`.
    pub fn leave(&self, page: &LockPage<'_>) {
        if let Ring::Packed(packed) = &self.ring {
            packed.leave(page);
        }
    }

    /// Returns the number of buffers that the driver has given and that are not taken. A packed ring shows them slot by
    /// slot, so the number is 1 if there are any.
    pub fn available(&self) -> Result<u16, Clause> {
        match &self.ring {
            Ring::Split(split) => split.available(),
            Ring::Packed(packed) => Ok(u16::from(packed.is_available())),
        }
    }

    /// Returns where the next buffer begins, if the driver has given one and breaks no rule with it so far.
    pub(crate) fn next_buffer(&self) -> Option<Gpa> {
        match &self.ring {
            Ring::Split(split) => split.next_buffer(),
            Ring::Packed(packed) => packed.next_buffer(),
        }
    }

    /// Returns the number of entries or slots.
    pub fn size(&self) -> u16 {
        match &self.ring {
            Ring::Split(split) => split.size(),
            Ring::Packed(packed) => packed.size(),
        }
    }

    /// Returns whether one frame may fill several buffers.
    pub(super) fn merges(&self) -> bool {
        self.features.contains(F::MRG_RXBUF)
    }

    /// Returns whether writes into the driver's memory are marked in a log.
    pub(crate) fn is_logged(&self) -> bool {
        self.log.is_some()
    }

    /// Returns the next chain, if there is one and what was used so far leaves room for it.
    pub(super) fn next_chain(&self) -> Result<Option<Chain>, Clause> {
        match &self.ring {
            Ring::Split(split) => split.next_chain(),
            Ring::Packed(packed) => Ok(packed.next_chain()),
        }
    }

    /// Uses `chain`, which [`DeviceQueue::next_chain`] returned and which was followed to its end, with `written` bytes
    /// written. Returns `false`, and uses nothing, if something must be published first.
    #[must_use]
    pub(super) fn use_chain(&mut self, chain: &Chain, written: u32) -> bool {
        match &mut self.ring {
            Ring::Split(split) => split.use_chain(chain, written),
            Ring::Packed(packed) => return packed.use_chain(chain, written),
        }
        true
    }

    /// Shows the driver everything used so far, if there is anything new. See: VIRTIO 2.7.8.2 "Device Requirements: The
    /// Virtqueue Used Ring".
    #[inline(always)]
    pub fn publish(&mut self) {
        if let Some(log) = &self.log {
            self.log_used(log);
        }
        match &mut self.ring {
            Ring::Split(split) => split.publish(),
            Ring::Packed(packed) => packed.publish(),
        }
    }

    /// Publishes as [`DeviceQueue::publish`] does, as the owner of the lock in `page`: should this one end meanwhile,
    /// everything is published or nothing once another has the lock.
    pub(crate) fn publish_under(&mut self, page: &LockPage<'_>) {
        if let Some(log) = &self.log {
            self.log_used(log);
        }
        match &mut self.ring {
            Ring::Split(split) => split.publish(),
            Ring::Packed(packed) => packed.publish_under(page),
        }
    }

    /// Publishes as [`DeviceQueue::publish`] does, where publishing the same may have been interrupted.
    pub(crate) fn publish_again(&mut self) {
        if let Some(log) = &self.log {
            self.log_used(log);
        }
        match &mut self.ring {
            Ring::Split(split) => split.publish(),
            Ring::Packed(packed) => packed.publish_again(),
        }
    }

    #[cold]
    fn log_used(&self, log: &DirtyLog) {
        let (at, len) = match &self.ring {
            Ring::Split(split) => split.device_area(),
            Ring::Packed(packed) => packed.ring_area(),
        };
        log.mark(at, len);
    }

    /// Forgets what was used and not published. The same buffers will be used again.
    pub fn rewind(&mut self) {
        self.keep(0);
    }

    /// Returns the number of entries or slots that are used and not published.
    pub(crate) fn pending(&self) -> u64 {
        match &self.ring {
            Ring::Split(split) => split.pending(),
            Ring::Packed(packed) => packed.pending().into(),
        }
    }

    /// Takes back all but the first `pending` entries or slots that are used and not published.
    pub(super) fn keep(&mut self, pending: u64) {
        match &mut self.ring {
            Ring::Split(split) => split.keep(pending),
            Ring::Packed(packed) => packed.keep(pending as u16),
        }
    }

    /// Returns whether the driver wants a notification of what was published since the last call. See: VIRTIO 2.7.7
    /// "Used Buffer Notification Suppression", 2.8.10 "Driver and Device Event Suppression".
    pub fn needs_notification(&mut self) -> bool {
        match &mut self.ring {
            Ring::Split(split) => split.needs_notification(),
            Ring::Packed(packed) => packed.needs_notification(),
        }
    }

    /// Returns the address of the four bytes, aligned as their queue is, that change when the next buffer is published.
    /// A driver that has seen everything published may wait for a change there.
    pub fn next_used(&self) -> Gpa {
        match &self.ring {
            Ring::Split(split) => split.next_used(),
            Ring::Packed(packed) => packed.next_used(),
        }
    }

    /// Tells the driver whether to notify the device of its next buffer. Look for buffers once more after switching it
    /// on. See: VIRTIO 2.7.10 "Available Buffer Notification Suppression".
    pub fn ask_for_notifications(&mut self, on: bool) {
        match &mut self.ring {
            Ring::Split(split) => split.ask_for_notifications(on),
            Ring::Packed(packed) => packed.ask_for_notifications(on),
        }
    }

    /// Returns the log in which writes into the driver's memory are marked.
    pub(crate) const fn log(&self) -> Option<DirtyLog> {
        self.log
    }

    /// Marks every write into the driver's memory in `log` from now on, or, without one, in none. Returns `false`, and
    /// changes nothing, if the log is too short for `regions`.
    pub fn set_log(&mut self, log: Option<DirtyLog>, regions: &Regions) -> bool {
        let fits = log.as_ref().is_none_or(|log| log.covers(regions));
        if fits {
            self.log = log;
        }
        fits
    }
}
