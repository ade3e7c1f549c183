//! A virtio-net device behind virtio-mmio registers: control plane only. See: VIRTIO 4.2 "Virtio Over MMIO".
//!
//! The driver writes every register at any time and in any order; what makes no sense is ignored, as a device that can't signal
//! an error must. A queue's size and addresses are only passed on here. Who uses them checks them against the VM's memory.

use sluice_abi::Gpa;
use sluice_abi::directory::Queue;
use sluice_abi::mmio::{self, Status, reg};
use sluice_abi::net::{self, Config, F};
use sluice_abi::virtq::QueueAddresses;
use sluice_memory::guess::{pick, pick_mut};

/// Queues: one to receive, one to transmit.
const QUEUES: usize = 2;
/// Largest queue size.
const QUEUE_SIZE_MAX: u16 = 1024;
/// Vendor of virtual devices without a PCI vendor: "Slce".
const VENDOR: u32 = u32::from_le_bytes(*b"Slce");
const LINK_UP: u16 = 1;

/// What a register write changed, as far as others must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The receive queue may be used from now on: [`Device::receiveq`].
    QueuesReady,
    /// The driver took it back.
    Reset,
}

/// One VM's network device.
#[derive(Clone, Debug)]
pub struct Device {
    config: Config,
    features: u64,
    device_features_sel: u32,
    driver_features_sel: u32,
    status: Status,
    /// How often the receive queue was put into use.
    starts: u32,
    queue_sel: u32,
    queues: [DeviceQueue; QUEUES],
}

#[derive(Clone, Copy, Debug, Default)]
struct DeviceQueue {
    size: u16,
    ready: bool,
    addresses: QueueAddresses,
}

impl Device {
    /// A device with address `mac` that takes payloads of `mtu` bytes.
    pub const fn new(mac: [u8; 6], mtu: u16) -> Self {
        let no_queue = DeviceQueue {
            size: 0,
            ready: false,
            addresses: QueueAddresses { desc: Gpa(0), driver: Gpa(0), device: Gpa(0) },
        };
        Self {
            config: Config { mac, status: LINK_UP, max_virtqueue_pairs: 0, mtu },
            features: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            status: Status::empty(),
            starts: 0,
            queue_sel: 0,
            queues: [no_queue; QUEUES],
        }
    }

    /// Its address.
    pub const fn mac(&self) -> [u8; 6] {
        self.config.mac
    }

    /// Largest payload of a frame to its driver, bytes: its MTU if the driver agreed on that, and else not more than any driver expects.
    /// See: VIRTIO 5.1.4.1 "Device Requirements: Device configuration layout", 5.1.6.3 "Setting Up Receive Buffers".
    pub fn mtu(&self) -> u16 {
        let agreed = self.features & F::MTU.bits() != 0;
        if agreed { self.config.mtu } else { self.config.mtu.min(net::DEFAULT_MTU) }
    }

    /// The receive queue, if the driver has it in use: it is ready, and so is the driver, which has not given up since.
    pub fn receiveq(&self) -> Option<Queue> {
        let queue = &self.queues[net::RECEIVEQ1 as usize];
        let driven = self.status.contains(Status::DRIVER_OK) && !self.status.contains(Status::FAILED);
        (driven && queue.ready).then_some(Queue {
            addresses: queue.addresses,
            features: self.features,
            index: net::RECEIVEQ1 as u16,
            size: queue.size,
            start: self.starts,
        })
    }

    /// The features that the device offers.
    const fn offered() -> F {
        let rings = F::INDIRECT_DESC.union(F::EVENT_IDX).union(F::IN_ORDER).union(F::RING_PACKED);
        // What peers may leave to the driver in the frames that they put into its receive queue.
        let to_driver = F::GUEST_CSUM.union(F::GUEST_TSO4).union(F::GUEST_TSO6).union(F::GUEST_ECN).union(F::GUEST_UFO);
        let device = F::VERSION_1.union(F::MAC).union(F::MTU).union(F::STATUS).union(F::MRG_RXBUF);
        device.union(to_driver).union(rings)
    }

    /// Whether the driver took only what is offered, and nothing without what it needs. See: VIRTIO 2.2.2 "Device Requirements: Feature
    /// Bits".
    fn agrees(&self) -> bool {
        let taken = F::from_bits(self.features).filter(|&taken| Self::offered().contains(taken));
        taken.is_some_and(|taken| taken.contains(F::VERSION_1) && taken.supported() == taken)
    }

    /// Sizes that a queue can have. See: VIRTIO 2.7 "Split Virtqueues", 2.8 "Packed Virtqueues".
    fn is_size(&self, size: u16) -> bool {
        let packed = self.features & F::RING_PACKED.bits() != 0;
        (1..=QUEUE_SIZE_MAX).contains(&size) && (packed || size.is_power_of_two())
    }

    /// Reads the register at `offset`.
    pub fn read(&self, offset: u32) -> u32 {
        match offset {
            reg::MAGIC_VALUE => mmio::MAGIC,
            reg::VERSION => mmio::VERSION,
            reg::DEVICE_ID => net::DEVICE_ID,
            reg::VENDOR_ID => VENDOR,
            reg::DEVICE_FEATURES => half(Self::offered().bits(), self.device_features_sel),
            reg::QUEUE_SIZE_MAX => self.queue().map_or(0, |_| u32::from(QUEUE_SIZE_MAX)),
            reg::QUEUE_READY => self.queue().map_or(0, |queue| u32::from(queue.ready)),
            reg::STATUS => self.status.bits(),
            // There is no shared memory, whichever is selected: length and address of it are -1.
            reg::SHM_LEN_LOW | reg::SHM_LEN_HIGH | reg::SHM_BASE_LOW | reg::SHM_BASE_HIGH => u32::MAX,
            reg::CONFIG.. => self.config_from(offset - reg::CONFIG),
            _ => 0,
        }
    }

    /// The configuration's bytes from `offset` on, any number, in a word; 0 behind its end.
    /// See: VIRTIO 5.1.4 "Device configuration layout".
    fn config_from(&self, offset: u32) -> u32 {
        let Config { mac: [a, b, c, d, e, f], status, max_virtqueue_pairs, mtu } = self.config;
        let [[g, h], [i, j], [k, l]] = [status, max_virtqueue_pairs, mtu].map(u16::to_le_bytes);
        let bytes = u128::from_le_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]);
        offset.checked_mul(8).and_then(|bits| bytes.checked_shr(bits)).unwrap_or(0) as u32
    }

    /// Writes the register at `offset`.
    pub fn write(&mut self, offset: u32, value: u32) -> Option<Event> {
        let was_in_use = self.receiveq().is_some();
        self.set(offset, value);
        match (was_in_use, self.receiveq().is_some()) {
            (false, true) => {
                self.starts = self.starts.wrapping_add(1);
                Some(Event::QueuesReady)
            }
            (true, false) => Some(Event::Reset),
            _ => None,
        }
    }

    fn set(&mut self, offset: u32, value: u32) {
        match offset {
            reg::DEVICE_FEATURES_SEL => self.device_features_sel = value,
            reg::DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            reg::DRIVER_FEATURES => self.accept_features(value),
            reg::QUEUE_SEL => self.queue_sel = value,
            reg::QUEUE_READY => self.set_ready(value),
            reg::STATUS => self.set_status(value),
            _ => self.set_up_queue(offset, value),
        }
    }

    fn accept_features(&mut self, value: u32) {
        if self.status.contains(Status::FEATURES_OK) {
            return;
        }
        let shift = match self.driver_features_sel {
            0 => 0,
            1 => 32,
            _ => return,
        };
        self.features = self.features & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    fn queue(&self) -> Option<&DeviceQueue> {
        pick(&self.queues, self.queue_sel as usize)
    }

    /// Size and addresses, which only count while the queue is not in use. See: VIRTIO 4.2.3.2 "Virtqueue Configuration".
    fn set_up_queue(&mut self, offset: u32, value: u32) {
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

    /// Of the two values that mean something, 1 needs what the queue is made of first: features, and a size that its format has.
    fn set_ready(&mut self, value: u32) {
        let may =
            self.status.contains(Status::FEATURES_OK) && self.queue().is_some_and(|queue| self.is_size(queue.size));
        if let Some(queue) = pick_mut(&mut self.queues, self.queue_sel as usize) {
            match value {
                0 => queue.ready = false,
                1 => queue.ready |= may,
                _ => {}
            }
        }
    }

    /// Bits are set and never cleared, but all of them by writing 0. That a reset is needed is the device's to say, not the driver's.
    /// See: VIRTIO 2.1 "Device Status Field", 3.1.1 "Driver Requirements: Device Initialization".
    fn set_status(&mut self, value: u32) {
        if value == 0 {
            *self = Self { starts: self.starts, ..Self::new(self.config.mac, self.config.mtu) };
            return;
        }
        let mut new = self.status | (Status::from_bits_truncate(value) - Status::DEVICE_NEEDS_RESET);
        if !self.status.contains(Status::FEATURES_OK) && !self.agrees() {
            new.remove(Status::FEATURES_OK);
        }
        if !new.contains(Status::FEATURES_OK) {
            new.remove(Status::DRIVER_OK);
        }
        self.status = new;
    }
}

const fn half(word: u64, select: u32) -> u32 {
    match select {
        0 => word as u32,
        1 => (word >> 32) as u32,
        _ => 0,
    }
}

fn set_low(address: &mut Gpa, value: u32) {
    address.0 = address.0 & !0xffff_ffff | u64::from(value);
}

fn set_high(address: &mut Gpa, value: u32) {
    address.0 = address.0 & 0xffff_ffff | u64::from(value) << 32;
}

#[cfg(test)]
mod tests;
