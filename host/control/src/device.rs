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
    /// The driver is ready: its queues may be used.
    QueuesReady,
    /// The driver took its queues back.
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
    /// How often a driver was ready.
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

    /// Its MTU.
    pub const fn mtu(&self) -> u16 {
        self.config.mtu
    }

    /// The receive queue, if the driver has it in use.
    pub fn receiveq(&self) -> Option<Queue> {
        let queue = &self.queues[net::RECEIVEQ1 as usize];
        let used = self.status.contains(Status::DRIVER_OK) && queue.ready;
        used.then_some(Queue {
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
        F::VERSION_1.union(F::MAC).union(F::MTU).union(F::STATUS).union(F::MRG_RXBUF).union(rings)
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
            reg::CONFIG..0x10c => self.config_word(offset - reg::CONFIG),
            _ => 0,
        }
    }

    fn config_word(&self, offset: u32) -> u32 {
        let Config { mac: [a, b, c, d, e, f], status, max_virtqueue_pairs, mtu } = self.config;
        let words = [[a, b, c, d], [e, f, status as u8, (status >> 8) as u8]].map(u32::from_le_bytes);
        match offset / 4 {
            0 => words[0],
            1 => words[1],
            _ => u32::from(max_virtqueue_pairs) | u32::from(mtu) << 16,
        }
    }

    /// Writes the register at `offset`.
    pub fn write(&mut self, offset: u32, value: u32) -> Option<Event> {
        match offset {
            reg::DEVICE_FEATURES_SEL => self.device_features_sel = value,
            reg::DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            reg::DRIVER_FEATURES => self.accept_features(value),
            reg::QUEUE_SEL => self.queue_sel = value,
            reg::QUEUE_READY => return self.set_ready(value),
            reg::STATUS => return self.set_status(value),
            _ => self.set_up_queue(offset, value),
        }
        None
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

    fn set_ready(&mut self, value: u32) -> Option<Event> {
        let agreed = self.status.contains(Status::FEATURES_OK);
        let fits = self.queue().is_some_and(|queue| self.is_size(queue.size));
        let queue = pick_mut(&mut self.queues, self.queue_sel as usize)?;
        let was_ready = queue.ready;
        queue.ready = value == 1 && agreed && fits;
        (was_ready && !queue.ready && self.status.contains(Status::DRIVER_OK)).then_some(Event::Reset)
    }

    /// See: VIRTIO 3.1.1 "Driver Requirements: Device Initialization".
    fn set_status(&mut self, value: u32) -> Option<Event> {
        let mut new = Status::from_bits_truncate(value);
        let was_in_use = self.status.contains(Status::DRIVER_OK);
        if new.is_empty() {
            *self = Self { starts: self.starts, ..Self::new(self.config.mac, self.config.mtu) };
            return was_in_use.then_some(Event::Reset);
        }
        if !self.status.contains(Status::FEATURES_OK) && !self.agrees() {
            new.remove(Status::FEATURES_OK);
        }
        if !new.contains(Status::FEATURES_OK) {
            new.remove(Status::DRIVER_OK);
        }
        self.status |= new;
        let starts = !was_in_use && new.contains(Status::DRIVER_OK);
        self.starts = self.starts.wrapping_add(starts.into());
        starts.then_some(Event::QueuesReady)
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
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 1, 2, 3, 4, 5];

    fn started() -> Device {
        let mut device = Device::new(MAC, 1500);
        for (offset, value) in [
            (reg::STATUS, 1),
            (reg::STATUS, 3),
            (reg::DRIVER_FEATURES_SEL, 1),
            (reg::DRIVER_FEATURES, 1),
            (reg::STATUS, 11),
            (reg::QUEUE_SEL, 0),
            (reg::QUEUE_SIZE, 256),
            (reg::QUEUE_DESC_LOW, 0x1000),
            (reg::QUEUE_DEVICE_HIGH, 7),
            (reg::QUEUE_READY, 1),
        ] {
            assert_eq!(device.write(offset, value), None);
        }
        device
    }

    #[test]
    fn the_receive_queue_appears_with_driver_ok_and_goes_with_reset() {
        let mut device = started();
        assert_eq!(device.receiveq(), None);
        assert_eq!(device.write(reg::STATUS, 15), Some(Event::QueuesReady));
        let queue = device.receiveq().unwrap();
        assert_eq!((queue.size, queue.addresses.desc, queue.addresses.device), (256, Gpa(0x1000), Gpa(7 << 32)));
        device.write(reg::QUEUE_SIZE, 8);
        device.write(reg::QUEUE_DESC_LOW, 0);
        assert_eq!(device.receiveq(), Some(queue), "a queue in use does not change");
        assert_eq!(device.write(reg::STATUS, 0), Some(Event::Reset));
        assert_eq!((device.receiveq(), device.read(reg::STATUS)), (None, 0));
    }

    #[test]
    fn a_queue_that_starts_anew_where_it_was_is_another() {
        let mut device = Device::new(MAC, 1500);
        let steps =
            [(reg::DRIVER_FEATURES_SEL, 1), (reg::DRIVER_FEATURES, 1), (reg::STATUS, 11), (reg::QUEUE_SIZE, 64)];
        let mut start = || {
            for (offset, value) in steps.into_iter().chain([(reg::QUEUE_READY, 1), (reg::STATUS, 15)]) {
                device.write(offset, value);
            }
            let queue = device.receiveq().unwrap();
            device.write(reg::STATUS, 0);
            queue
        };
        let (first, second) = (start(), start());
        assert_ne!(first, second);
        assert_eq!(first, Queue { start: first.start, ..second });
    }

    #[test]
    fn a_driver_without_version_1_or_with_unknown_features_is_refused() {
        for features in [0u64, 1 << 32 | 1 << 17, 1 << 32 | 1 << 33, 1 << 32 | 1 << 63, 1 << 15 | 1 << 34] {
            let mut device = Device::new(MAC, 1500);
            for half in [0, 1] {
                device.write(reg::DRIVER_FEATURES_SEL, half);
                device.write(reg::DRIVER_FEATURES, (features >> (32 * half)) as u32);
            }
            device.write(reg::STATUS, 11);
            assert_eq!(device.read(reg::STATUS), 3);
            assert_eq!(device.write(reg::STATUS, 15), None);
            assert_eq!(device.read(reg::STATUS), 3);
        }
    }

    /// A device whose driver took `features`, and gave it a receive queue of `size` entries.
    fn with_queue(features: F, size: u16) -> Device {
        let mut device = Device::new(MAC, 1500);
        for half in [0, 1] {
            device.write(reg::DRIVER_FEATURES_SEL, half);
            device.write(reg::DRIVER_FEATURES, (features.bits() >> (32 * half)) as u32);
        }
        for (offset, value) in
            [(reg::STATUS, 11), (reg::QUEUE_SIZE, size.into()), (reg::QUEUE_READY, 1), (reg::STATUS, 15)]
        {
            device.write(offset, value);
        }
        device
    }

    #[test]
    fn what_was_agreed_on_goes_with_the_queue() {
        let rings = F::INDIRECT_DESC | F::EVENT_IDX | F::MRG_RXBUF | F::IN_ORDER | F::RING_PACKED;
        for features in [F::VERSION_1, F::VERSION_1 | F::IN_ORDER, F::VERSION_1 | rings] {
            assert_eq!(with_queue(features, 256).receiveq().map(|queue| queue.features), Some(features.bits()));
        }
    }

    #[test]
    fn a_queue_has_a_size_that_its_format_has() {
        for (features, size, taken) in [
            (F::VERSION_1, 255, false),
            (F::VERSION_1 | F::RING_PACKED, 255, true),
            (F::VERSION_1 | F::RING_PACKED, 0, false),
            (F::VERSION_1 | F::RING_PACKED, 1025, false),
        ] {
            assert_eq!(with_queue(features, size).receiveq().is_some(), taken, "{features:?} {size}");
        }
    }

    #[test]
    fn a_queue_taken_back_is_told() {
        let mut device = started();
        device.write(reg::STATUS, 15);
        assert_eq!(device.write(reg::QUEUE_READY, 0), Some(Event::Reset));
        assert_eq!(device.receiveq(), None);
    }

    #[test]
    fn no_write_to_any_register_panics() {
        let mut device = Device::new(MAC, 1500);
        for round in 0..4u32 {
            for offset in 0..0x204 {
                for value in [0, 1, 2, 15, 255, u32::MAX] {
                    device.write(offset, value.wrapping_sub(round));
                    device.read(offset);
                }
            }
        }
    }

    #[test]
    fn the_configuration_is_what_was_asked_for() {
        let device = Device::new(MAC, 9000);
        let bytes: alloc::vec::Vec<u8> =
            (0..3).flat_map(|word| device.read(reg::CONFIG + 4 * word).to_le_bytes()).collect();
        assert_eq!(bytes[..6], MAC);
        assert_eq!((bytes[6..8].to_vec(), bytes[10..].to_vec()), (alloc::vec![1, 0], 9000u16.to_le_bytes().to_vec()));
    }

    #[test]
    fn the_mtu_stays_whatever_the_driver_writes() {
        let mut device = Device::new(MAC, 9000);
        for register in (0..reg::CONFIG + 12).step_by(4) {
            for value in [0, 1, 0xffff_ffff] {
                device.write(register, value);
                assert_eq!(device.read(reg::CONFIG + 8) >> 16, 9000, "{register:#x}");
            }
        }
    }
}
