//! The queues of a device, and which of them are in use. See: VIRTIO 4.2.3.2 "Virtqueue Configuration".

use super::{Device, Event};
use sluice_abi::Gpa;
use sluice_abi::directory::Queue;
use sluice_abi::mmio::{Status, reg};
use sluice_abi::net::{self, F};
use sluice_abi::virtq::QueueAddresses;
use sluice_memory::speculation::{pick, pick_mut};

/// Largest number of queue pairs of a device: one for the host's switch, and one for each sender that may have a
/// window.
pub const MAX_PAIRS: u16 = 63;
/// Number of queues for which a device has room: those of [`MAX_PAIRS`] pairs and the control queue. Each has a bit in
/// [`InUse`].
pub const MAX_QUEUES: usize = 128;
const _: () = assert!((net::controlq(MAX_PAIRS) as usize) < MAX_QUEUES && MAX_QUEUES <= u128::BITS as usize);
/// Largest queue size.
pub(super) const QUEUE_SIZE_MAX: u16 = 1024;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DeviceQueue {
    pub size: u16,
    pub ready: bool,
    pub addresses: QueueAddresses,
    /// Number of the start since which the queue is in use.
    start: u32,
}

/// The queues in use, by bits.
#[derive(Clone, Copy)]
pub(super) struct InUse {
    all: u128,
    /// The receive queues among them.
    receive: u128,
}

impl InUse {
    /// Returns whether the host takes buffers from queue `index`: a transmit queue or the control queue.
    pub fn is_served(self, index: u32) -> bool {
        (self.all & !self.receive).checked_shr(index).is_some_and(|bits| bits & 1 == 1)
    }
}

impl Device {
    /// Returns how many queue pairs the driver lets the device use.
    pub const fn pairs(&self) -> u16 {
        self.pairs
    }

    /// Returns the number of the control queue, if the driver negotiated one. See: VIRTIO 5.1.2 "Virtqueues".
    pub fn controlq(&self) -> Option<u16> {
        let features = self.features();
        let pairs = if features.contains(F::MQ) { self.config.max_virtqueue_pairs } else { 1 };
        features.contains(F::CTRL_VQ).then_some(net::controlq(pairs))
    }

    /// Returns queue `index`, if the driver has it in use: the queue is ready, the status has DRIVER_OK and not FAILED,
    /// and the driver lets the device use its pair.
    pub fn queue(&self, index: u16) -> Option<Queue> {
        let queue = self.queues.get(usize::from(index)).filter(|queue| queue.ready)?;
        let driven = self.status.contains(Status::DRIVER_OK) && !self.status.contains(Status::FAILED);
        let used = index < 2 * self.pairs || Some(index) == self.controlq();
        (driven && used).then_some(Queue {
            addresses: queue.addresses,
            features: self.features,
            index,
            size: queue.size,
            start: queue.start,
            ..Queue::default()
        })
    }

    /// Returns all queues that the driver has in use.
    pub fn queues(&self) -> impl Iterator<Item = Queue> {
        (0..=net::controlq(self.config.max_virtqueue_pairs)).filter_map(|index| self.queue(index))
    }

    pub(super) fn in_use(&self) -> InUse {
        let bits = |used: &mut dyn Iterator<Item = u16>| {
            used.filter(|&index| self.queue(index).is_some()).fold(0, |bits, index| bits | 1 << index)
        };
        let last = net::controlq(self.config.max_virtqueue_pairs);
        InUse { all: bits(&mut (0..=last)), receive: bits(&mut (0..self.pairs).map(net::receiveq)) }
    }

    /// Returns whether a queue can have `size` entries. See: VIRTIO 2.7 "Split Virtqueues", 2.8 "Packed Virtqueues".
    fn is_size(&self, size: u16) -> bool {
        let packed = self.features & F::RING_PACKED.bits() != 0;
        (1..=QUEUE_SIZE_MAX).contains(&size) && (packed || size.is_power_of_two())
    }

    /// Returns the change that others must know, if the queues `before` were in use before. A queue that is put into
    /// use gets a new start number.
    pub(super) fn news(&mut self, before: InUse) -> Option<Event> {
        let now = self.in_use();
        let mut begun = now.all & !before.all;
        while let Some(queue) = self.queues.get_mut(begun.trailing_zeros() as usize) {
            self.starts = self.starts.wrapping_add(1);
            queue.start = self.starts;
            begun &= begun - 1;
        }
        match (before.receive & !now.receive, now.receive & !before.receive) {
            (0, 0) => None,
            (0, _) => Some(Event::QueuesReady),
            _ => Some(Event::Reset),
        }
    }

    /// Returns the queue that QueueSel selects, if there is one.
    pub(super) fn selected(&self) -> Option<&DeviceQueue> {
        self.has_selected().then(|| pick(&self.queues, self.queue_sel as usize))?
    }

    fn has_selected(&self) -> bool {
        let pairs = if self.features().contains(F::MQ) { self.config.max_virtqueue_pairs } else { 1 };
        self.queue_sel < u32::from(net::controlq(pairs)) || Some(self.queue_sel) == self.controlq().map(u32::from)
    }

    /// Writes size or address of the selected queue, unless the queue is ready. See: VIRTIO 4.2.3.2 "Virtqueue
    /// Configuration".
    pub(super) fn set_up_queue(&mut self, offset: u32, value: u32) {
        if !self.has_selected() {
            return;
        }
        let Some(queue) = pick_mut(&mut self.queues, self.queue_sel as usize).filter(|queue| !queue.ready) else {
            return;
        };
        let QueueAddresses { desc, driver, device } = &mut queue.addresses;
        match offset {
            reg::QUEUE_SIZE => queue.size = value.min(u32::from(u16::MAX)) as u16,
            reg::QUEUE_DESC_LOW => set_low(desc, value),
            reg::QUEUE_DESC_HIGH => set_high(desc, value),
            reg::QUEUE_DRIVER_LOW => set_low(driver, value),
            reg::QUEUE_DRIVER_HIGH => set_high(driver, value),
            reg::QUEUE_DEVICE_LOW => set_low(device, value),
            reg::QUEUE_DEVICE_HIGH => set_high(device, value),
            _ => {}
        }
    }

    /// Writes QueueReady of the selected queue. The value 1 has an effect only after FEATURES_OK, and if the queue's
    /// format allows its size.
    pub(super) fn set_ready(&mut self, value: u32) {
        let may =
            self.status.contains(Status::FEATURES_OK) && self.selected().is_some_and(|queue| self.is_size(queue.size));
        if !self.has_selected() {
            return;
        }
        if let Some(queue) = pick_mut(&mut self.queues, self.queue_sel as usize) {
            match value {
                0 => queue.ready = false,
                1 => queue.ready |= may,
                _ => {}
            }
        }
    }
}

fn set_low(address: &mut Gpa, value: u32) {
    address.0 = address.0 & !0xffff_ffff | u64::from(value);
}

fn set_high(address: &mut Gpa, value: u32) {
    address.0 = address.0 & 0xffff_ffff | u64::from(value) << 32;
}
