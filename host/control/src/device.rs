//! A virtio-net device behind virtio-mmio registers: control plane only. See: VIRTIO 4.2 "Virtio Over MMIO".
//!
//! The driver may write any register at any time and in any order. A write that is not allowed is ignored, since the
//! device has no way to report an error. A queue's size and addresses are only passed on: the code that uses the queue
//! checks them against the VM's memory. `queues` has the queues, `command` the commands of the control queue, `filter`
//! the frames that the driver wants to receive, `messages` a device that a vhost-user front-end sets up.

mod command;
mod filter;
mod messages;
mod queues;

pub use command::COMMAND_LEN;
use filter::Filter;
pub use filter::is_multicast;
use queues::{DeviceQueue, QUEUE_SIZE_MAX};
pub use queues::{MAX_PAIRS, MAX_QUEUES};
use sluice_abi::mmio::{self, Interrupt, Status, reg};
use sluice_abi::net::{self, Config, F, LinkStatus};

/// The VendorID register: "Slce", for a device without a PCI vendor.
const VENDOR: u32 = u32::from_le_bytes(*b"Slce");

/// A change by a register write that others must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Senders may use a new receive queue ([`Device::queue`]) or address from now on.
    QueuesReady,
    /// The driver took a receive queue back.
    Reset,
    /// The driver notified the device of new buffers in a queue that the host serves.
    Notified,
}

/// The network device of one VM.
#[derive(Clone, Debug)]
pub struct Device {
    config: Config,
    /// MAC address after a reset.
    own: [u8; 6],
    /// Value of ConfigGeneration, which changes when `config` does.
    generation: u32,
    features: u64,
    device_features_sel: u32,
    driver_features_sel: u32,
    status: Status,
    /// Number of times that a queue was put into use.
    starts: u32,
    queue_sel: u32,
    queues: [DeviceQueue; MAX_QUEUES],
    /// Number of queue pairs that the driver lets the device use.
    pairs: u16,
    filter: Filter,
    /// Value of InterruptStatus: causes that the driver has not acknowledged. While it is not 0, the device's interrupt
    /// line is asserted.
    interrupt: Interrupt,
    /// Whether messages set the device up, instead of registers.
    is_messaged: bool,
}

impl Device {
    /// Returns a device with address `mac`, MTU `mtu` in bytes, and `pairs` queue pairs: 1 to [`MAX_PAIRS`].
    pub fn new(mac: [u8; 6], mtu: u16, pairs: u16) -> Self {
        let status = LinkStatus::LINK_UP.bits();
        Self {
            config: Config { mac, status, max_virtqueue_pairs: pairs.clamp(1, MAX_PAIRS), mtu },
            own: mac,
            generation: 0,
            features: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            status: Status::empty(),
            starts: 0,
            queue_sel: 0,
            queues: [DeviceQueue::default(); MAX_QUEUES],
            pairs: 1,
            filter: Filter::default(),
            interrupt: Interrupt::empty(),
            is_messaged: false,
        }
    }

    /// Raises the interrupt for a used buffer. See: VIRTIO 4.2.2.1 "Device Requirements: MMIO Device Register Layout".
    pub fn tell(&mut self) {
        self.interrupt |= Interrupt::USED_BUFFER;
    }

    /// Returns whether the device's interrupt line is asserted.
    pub const fn interrupts(&self) -> bool {
        !self.interrupt.is_empty()
    }

    /// Returns the MAC address of the device after a reset.
    pub(crate) const fn own_mac(&self) -> [u8; 6] {
        self.own
    }

    /// Returns the present MAC address of the device.
    pub const fn mac(&self) -> [u8; 6] {
        self.config.mac
    }

    /// Returns the largest payload of a frame to the driver in bytes: the device's MTU if the driver negotiated it, and
    /// else at most what any driver expects.
    /// See: VIRTIO 5.1.4.1 "Device Requirements: Device configuration layout", 5.1.6.3 "Setting Up Receive Buffers".
    pub fn mtu(&self) -> u16 {
        let agreed = self.features & F::MTU.bits() != 0;
        if agreed || self.is_messaged { self.config.mtu } else { self.config.mtu.min(net::DEFAULT_MTU) }
    }

    /// Returns the negotiated features; none before FEATURES_OK.
    pub fn features(&self) -> F {
        let agreed = self.status.contains(Status::FEATURES_OK);
        if agreed { F::from_bits_truncate(self.features) } else { F::empty() }
    }

    /// Returns the features that the device offers.
    const fn offered(&self) -> F {
        let rings = F::INDIRECT_DESC.union(F::EVENT_IDX).union(F::IN_ORDER).union(F::RING_PACKED);
        let control = F::CTRL_VQ.union(F::CTRL_RX).union(F::CTRL_MAC_ADDR).union(F::GUEST_ANNOUNCE);
        let control = if self.config.max_virtqueue_pairs > 1 { control.union(F::MQ) } else { control };
        let to_device = F::CSUM.union(F::HOST_TSO4).union(F::HOST_TSO6).union(F::HOST_ECN);
        // The offloads that peers may leave to the driver in frames of its receive queues.
        let to_driver = F::GUEST_CSUM.union(F::GUEST_TSO4).union(F::GUEST_TSO6).union(F::GUEST_ECN).union(F::GUEST_UFO);
        let frames = F::MRG_RXBUF.union(to_device).union(to_driver);
        F::VERSION_1.union(F::MAC).union(F::MTU).union(F::STATUS).union(frames).union(rings).union(control)
    }

    /// Returns whether the driver accepted only features that are offered, and none without those that it requires.
    /// See: VIRTIO 2.2.2 "Device Requirements: Feature Bits".
    fn agrees(&self) -> bool {
        let taken = F::from_bits(self.features).filter(|&taken| self.offered().contains(taken));
        taken.is_some_and(|taken| taken.contains(F::VERSION_1) && taken.supported() == taken)
    }

    /// Reads the register at `offset`.
    pub fn read(&self, offset: u32) -> u32 {
        match offset {
            reg::MAGIC_VALUE => mmio::MAGIC,
            reg::VERSION => mmio::VERSION,
            reg::DEVICE_ID => net::DEVICE_ID,
            reg::VENDOR_ID => VENDOR,
            reg::DEVICE_FEATURES => half(self.offered().bits(), self.device_features_sel),
            reg::QUEUE_SIZE_MAX => self.selected().map_or(0, |_| u32::from(QUEUE_SIZE_MAX)),
            reg::QUEUE_READY => self.selected().map_or(0, |queue| u32::from(queue.ready)),
            reg::INTERRUPT_STATUS => self.interrupt.bits(),
            reg::STATUS => self.status.bits(),
            reg::CONFIG_GENERATION => self.generation,
            // There is no shared memory region, whichever is selected: its length and address read as -1.
            reg::SHM_LEN_LOW | reg::SHM_LEN_HIGH | reg::SHM_BASE_LOW | reg::SHM_BASE_HIGH => u32::MAX,
            reg::CONFIG.. => self.config_from(offset - reg::CONFIG),
            _ => 0,
        }
    }

    /// Returns four bytes of the configuration from `offset` on; bytes past its end are 0.
    /// See: VIRTIO 5.1.4 "Device configuration layout".
    fn config_from(&self, offset: u32) -> u32 {
        let Config { mac: [a, b, c, d, e, f], status, max_virtqueue_pairs, mtu } = self.config;
        // The field exists only with its feature.
        let max_virtqueue_pairs = if self.offered().contains(F::MQ) { max_virtqueue_pairs } else { 0 };
        let [[g, h], [i, j], [k, l]] = [status, max_virtqueue_pairs, mtu].map(u16::to_le_bytes);
        let bytes = u128::from_le_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]);
        offset.checked_mul(8).and_then(|bits| bytes.checked_shr(bits)).unwrap_or(0) as u32
    }

    /// Writes the register at `offset`.
    pub fn write(&mut self, offset: u32, value: u32) -> Option<Event> {
        let before = self.in_use();
        if offset == reg::QUEUE_NOTIFY {
            return before.is_served(value).then_some(Event::Notified);
        }
        self.set(offset, value);
        self.news(before)
    }

    fn set(&mut self, offset: u32, value: u32) {
        match offset {
            reg::DEVICE_FEATURES_SEL => self.device_features_sel = value,
            reg::DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            reg::DRIVER_FEATURES => self.accept_features(value),
            reg::QUEUE_SEL => self.queue_sel = value,
            reg::QUEUE_READY => self.set_ready(value),
            reg::INTERRUPT_ACK => self.interrupt.remove(Interrupt::from_bits_truncate(value)),
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

    /// Writes the status. The driver can set bits, and clear them only all at once by writing 0. DEVICE_NEEDS_RESET
    /// belongs to the device. See: VIRTIO 2.1 "Device Status Field", 3.1.1 "Driver Requirements: Device
    /// Initialization".
    fn set_status(&mut self, value: u32) {
        if value == 0 {
            self.reset();
            return;
        }
        let mut new = self.status | (Status::from_bits_truncate(value) - Status::DEVICE_NEEDS_RESET);
        if !self.status.contains(Status::FEATURES_OK) && !self.agrees() {
            new.remove(Status::FEATURES_OK);
        }
        if !new.contains(Status::FEATURES_OK) {
            new.remove(Status::DRIVER_OK);
        }
        let started = new.contains(Status::DRIVER_OK) && !self.status.contains(Status::DRIVER_OK);
        self.status = new;
        if started {
            self.ask_for_announcement();
        }
    }

    /// Resets the device, except for the numbers that tell one start or one configuration from another. The device is
    /// changed in place: it has room for many queues, and a driver may reset it any number of times.
    fn reset(&mut self) {
        let queues = usize::from(net::controlq(self.config.max_virtqueue_pairs)) + 1;
        let Self {
            config,
            own,
            generation,
            features,
            device_features_sel,
            driver_features_sel,
            status,
            starts: _,
            queue_sel,
            queues: all,
            pairs,
            filter,
            interrupt,
            is_messaged: _,
        } = self;
        let new = Config { mac: *own, status: LinkStatus::LINK_UP.bits(), ..*config };
        *generation = generation.wrapping_add(u32::from(new != *config));
        *config = new;
        (*features, *device_features_sel, *driver_features_sel, *queue_sel, *pairs) = (0, 0, 0, 0, 1);
        (*status, *interrupt) = (Status::empty(), Interrupt::empty());
        all.iter_mut().take(queues).for_each(|queue| *queue = DeviceQueue::default());
        *filter = Filter::default();
    }
}

const fn half(word: u64, select: u32) -> u32 {
    match select {
        0 => word as u32,
        1 => (word >> 32) as u32,
        _ => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests;
