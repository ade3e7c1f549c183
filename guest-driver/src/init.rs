//! The steps from an unknown device to a running one. See: VIRTIO 3.1.1 "Driver Requirements: Device Initialization".
//!
//! [`Setup`] agrees on features, from which the format of the queues follows; then queues are made and set up, and
//! [`Setup::start`] lets the device use them.

use crate::{DriverQueue, Token, Transport};
use core::fmt;
use core::mem::offset_of;
use sluice_abi::mmio::Status;
use sluice_abi::net::{self, Config, F, LinkStatus};
use sluice_abi::virtq::QueueAddresses;

/// The features that the driver takes of any device.
const ALWAYS: F = F::VERSION_1.union(F::MAC).union(F::MTU).union(F::STATUS);
/// Number of times that the driver looks for the end of a reset.
const RESET_LOOKS: usize = if cfg!(miri) { 1 << 8 } else { 1 << 16 };

/// The features and queues that the driver asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Features to take if they are offered. `VERSION_1`, `MAC`, `STATUS` and, with buffers that hold it, `MTU` are
    /// always taken.
    pub features: F,
    /// Number of queue pairs to use if the device has as many; more than 1 only with [`F::MQ`].
    pub pairs: u16,
}

/// The features and queues that were agreed on, and the configuration of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// MAC address of the device; all zero if it does not tell.
    pub mac: [u8; 6],
    /// Largest payload of a frame in bytes.
    pub mtu: u16,
    /// The features that were agreed on.
    pub features: F,
    /// Number of queue pairs that can be used: at least 1, at most as many as wanted.
    pub pairs: u16,
    /// Number of queue pairs of the device. The control queue comes behind them.
    pub max_pairs: u16,
}

/// Reasons for which a device can't be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// There is no virtio-mmio device: the first registers have these values.
    NoDevice(u32, u32),
    /// The device is of another kind, which has this device ID.
    NotNet(u32),
    /// The device did not finish its reset.
    ResetStuck,
    /// The device does not offer [`F::VERSION_1`].
    Legacy,
    /// The device did not accept features that it offers.
    FeaturesRefused,
    /// The device's MTU is larger than the driver's receive buffers hold, both in bytes of payload.
    Mtu {
        /// MTU of the device.
        device: u16,
        /// Payload that the buffers hold.
        most: u16,
    },
    /// The device tells of a number of queue pairs that no device has.
    Pairs(u16),
    /// The queue of the first number has at most the second number of entries, fewer than wanted.
    QueueTooSmall(u16, u16),
    /// The device did not take the queue of this number.
    QueueRefused(u16),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(magic, version) => write!(f, "no virtio-mmio device: magic {magic:#x}, version {version}"),
            Self::NotNet(id) => write!(f, "virtio device {id}, not a network device"),
            Self::ResetStuck => write!(f, "network device does not finish its reset"),
            Self::Legacy => write!(f, "network device without VIRTIO_F_VERSION_1"),
            Self::FeaturesRefused => write!(f, "network device refuses its own features"),
            Self::Mtu { device, most } => {
                write!(f, "network device with an MTU of {device} bytes, and receive buffers that hold {most}")
            }
            Self::Pairs(pairs) => write!(f, "network device with {pairs} queue pairs"),
            Self::QueueTooSmall(queue, size) => write!(f, "queue {queue}: at most {size} entries"),
            Self::QueueRefused(queue) => write!(f, "queue {queue}: refused"),
        }
    }
}

/// A device whose features are agreed on and that is not started yet. Dropping this tells the device that the driver
/// gave up.
pub struct Setup<'t, T: Transport> {
    transport: &'t mut T,
    status: Status,
    agreed: Started,
}

impl<'t, T: Transport> Setup<'t, T> {
    /// Resets the network device behind `transport` and agrees with it on features.
    pub fn new(transport: &'t mut T, wanted: Wanted) -> Result<Self, StartError> {
        Self::with_mtu(transport, wanted, u16::MAX)
    }

    /// Does the same for a driver whose receive buffers hold a payload of at most `most` bytes: a device with a larger
    /// MTU is refused ([`StartError::Mtu`]), and so is one without an MTU if they do not hold [`net::DEFAULT_MTU`].
    /// See: VIRTIO 5.1.4.2 "Driver Requirements: Device configuration layout".
    pub fn with_mtu(transport: &'t mut T, wanted: Wanted, most: u16) -> Result<Self, StartError> {
        match transport.device_id()? {
            net::DEVICE_ID => {}
            id => return Err(StartError::NotNet(id)),
        }
        reset(transport)?;
        let agreed = Started { mac: [0; 6], mtu: net::DEFAULT_MTU, features: F::empty(), pairs: 1, max_pairs: 1 };
        let mut setup = Self { transport, status: Status::empty(), agreed };
        setup.advance(Status::ACKNOWLEDGE);
        setup.advance(Status::DRIVER);
        setup.negotiate(wanted.features, most)?;
        setup.configuration(wanted.pairs)?;
        Ok(setup)
    }

    /// Sets `bit` of the device status, and clears none. See: VIRTIO 2.1.1 "Driver Requirements: Device Status Field".
    fn advance(&mut self, status: Status) {
        self.status |= status;
        self.transport.set_status(self.status);
    }

    /// Agrees on features: each goes with those that it needs. See: VIRTIO 2.2.1 "Driver Requirements: Feature Bits".
    fn negotiate(&mut self, wanted: F, most: u16) -> Result<(), StartError> {
        let features = (self.transport.device_features() & (wanted | ALWAYS)).supported();
        if !features.contains(F::VERSION_1) {
            return Err(StartError::Legacy);
        }
        let has_mtu = most < u16::MAX && features.contains(F::MTU);
        let device = if has_mtu { configuration(self.transport).mtu } else { net::DEFAULT_MTU };
        if device > most {
            return Err(StartError::Mtu { device, most });
        }
        self.transport.set_driver_features(features);
        self.advance(Status::FEATURES_OK);
        if !self.transport.status().contains(Status::FEATURES_OK) {
            return Err(StartError::FeaturesRefused);
        }
        self.agreed.features = features;
        Ok(())
    }

    fn configuration(&mut self, pairs: u16) -> Result<(), StartError> {
        let features = self.agreed.features;
        let config = configuration(self.transport);
        if features.contains(F::MAC) {
            self.agreed.mac = config.mac;
        }
        if features.contains(F::MTU) {
            self.agreed.mtu = config.mtu;
        }
        if features.contains(F::MQ) {
            // See: VIRTIO 5.1.4.1 "Device Requirements: Device configuration layout".
            self.agreed.max_pairs = match config.max_virtqueue_pairs {
                count @ 1..=0x8000 => count,
                count => return Err(StartError::Pairs(count)),
            };
        }
        self.agreed.pairs = pairs.clamp(1, self.agreed.max_pairs);
        Ok(())
    }

    /// Returns what was agreed on.
    pub const fn agreed(&self) -> &Started {
        &self.agreed
    }

    /// Tells the device of its queue `index`. See: VIRTIO 4.2.3.2 "Virtqueue Configuration", 4.1.5.1.3 "Virtqueue
    /// Configuration".
    pub fn set_queue<const N: usize, K: Token>(
        &mut self,
        index: u16,
        queue: &DriverQueue<N, K>,
    ) -> Result<(), StartError> {
        set_queue(self.transport, index, queue.size(), queue.addresses())
    }

    /// Lets the device use its queues.
    pub fn start(mut self) -> Started {
        self.advance(Status::DRIVER_OK);
        self.agreed
    }
}

impl<T: Transport> Drop for Setup<'_, T> {
    fn drop(&mut self) {
        if !self.status.contains(Status::DRIVER_OK) {
            self.advance(Status::FAILED);
        }
    }
}

/// Resets the device and waits until that is done. The memory of all queues is the driver's again then.
///
/// # Errors
/// [`StartError::ResetStuck`]. See: VIRTIO 2.4.2 "Driver Requirements: Device Reset".
pub fn reset(transport: &mut impl Transport) -> Result<(), StartError> {
    transport.set_status(Status::empty());
    let done = (0..RESET_LOOKS).any(|_| transport.status().is_empty());
    if done { Ok(()) } else { Err(StartError::ResetStuck) }
}

fn set_queue(transport: &mut impl Transport, index: u16, size: u16, at: QueueAddresses) -> Result<(), StartError> {
    let most = transport.queue_size_max(index);
    if transport.queue_ready(index) {
        return Err(StartError::QueueRefused(index));
    }
    if most < size {
        return Err(StartError::QueueTooSmall(index, most));
    }
    transport.enable_queue(index, size, at);
    if transport.queue_ready(index) { Ok(()) } else { Err(StartError::QueueRefused(index)) }
}

/// Takes queue `index` back from a running device, and gives the device a new queue. `emptied` makes that, once the
/// memory of the old queue is the driver's again. This needs [`F::RING_RESET`]. See: VIRTIO 2.6.1 "Virtqueue Reset".
pub fn renew_queue<const N: usize>(
    transport: &mut impl Transport,
    index: u16,
    emptied: impl FnOnce() -> DriverQueue<N>,
) -> Result<DriverQueue<N>, StartError> {
    transport.reset_queue(index);
    if !(0..RESET_LOOKS).any(|_| transport.queue_is_reset(index)) {
        return Err(StartError::ResetStuck);
    }
    let queue = emptied();
    set_queue(transport, index, queue.size(), queue.addresses())?;
    Ok(queue)
}

/// Reads the configuration until it did not change meanwhile. After some attempts the last reading is used.
/// See: VIRTIO 2.5.1 "Driver Requirements: Device Configuration Space".
fn configuration(transport: &mut impl Transport) -> Config {
    const ATTEMPTS: usize = 8;
    let mut config = Config::default();
    for _ in 0..ATTEMPTS {
        let before = transport.config_generation();
        let word = |transport: &mut _, offset| Transport::config16(transport, offset as u32);
        config = Config {
            mac: core::array::from_fn(|at| transport.config8((offset_of!(Config, mac) + at) as u32)),
            status: word(transport, offset_of!(Config, status)),
            max_virtqueue_pairs: word(transport, offset_of!(Config, max_virtqueue_pairs)),
            mtu: word(transport, offset_of!(Config, mtu)),
        };
        if transport.config_generation() == before {
            break;
        }
    }
    config
}

/// Returns the status of the link; up if the device does not tell. [`LinkStatus::ANNOUNCE`] asks the driver to send
/// gratuitous packets, and then to call [`crate::ControlQueue::announce_ack`]. See: VIRTIO 5.1.6.5.4 "Gratuitous Packet
/// Sending".
pub fn link_status(transport: &mut impl Transport, started: &Started) -> LinkStatus {
    if !started.features.contains(F::STATUS) {
        return LinkStatus::LINK_UP;
    }
    let status = LinkStatus::from_bits_truncate(configuration(transport).status);
    let announce = started.features.contains(F::GUEST_ANNOUNCE);
    if announce { status } else { status - LinkStatus::ANNOUNCE }
}

#[cfg(test)]
mod tests;
