//! From an unknown device to a running one. See: VIRTIO 3.1.1 "Driver Requirements: Device Initialization".

use crate::Transport;
use core::fmt;
use sluice_abi::mmio::{MAGIC, Status, VERSION, reg};
use sluice_abi::net::{self, F};
use sluice_abi::virtq::QueueAddresses;

/// What the driver takes of what the device offers.
const WANTED: F = F::VERSION_1.union(F::MAC).union(F::MTU).union(F::STATUS);

/// What a started device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its address.
    pub mac: [u8; 6],
    /// Largest payload of a frame, bytes.
    pub mtu: u16,
}

/// Why a device can't be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// No virtio-mmio device: the first registers say this.
    NoDevice(u32, u32),
    /// Another kind of device.
    NotNet(u32),
    /// It does not offer [`F::VERSION_1`].
    Legacy,
    /// It did not take the features that it offers.
    FeaturesRefused,
    /// Its receive queue has fewer entries than wanted.
    QueueTooSmall(u32),
    /// It did not take the queue.
    QueueRefused,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(magic, version) => write!(f, "no virtio-mmio device: magic {magic:#x}, version {version}"),
            Self::NotNet(id) => write!(f, "virtio device {id}, not a network device"),
            Self::Legacy => write!(f, "network device without VIRTIO_F_VERSION_1"),
            Self::FeaturesRefused => write!(f, "network device refuses its own features"),
            Self::QueueTooSmall(size) => write!(f, "receiveq1: at most {size} entries"),
            Self::QueueRefused => write!(f, "receiveq1: refused"),
        }
    }
}

/// Starts the network device behind `transport`, with one receive queue of `size` entries at `receiveq`.
pub fn start(transport: &mut impl Transport, receiveq: QueueAddresses, size: u16) -> Result<Started, StartError> {
    let (magic, version) = (transport.read(reg::MAGIC_VALUE), transport.read(reg::VERSION));
    if magic != MAGIC || version != VERSION {
        return Err(StartError::NoDevice(magic, version));
    }
    match transport.read(reg::DEVICE_ID) {
        net::DEVICE_ID => {}
        id => return Err(StartError::NotNet(id)),
    }
    transport.write(reg::STATUS, 0);
    let result = bring_up(transport, receiveq, size);
    if result.is_err() {
        transport.write(reg::STATUS, Status::FAILED.bits());
    }
    result
}

fn bring_up(transport: &mut impl Transport, receiveq: QueueAddresses, size: u16) -> Result<Started, StartError> {
    let mut status = Status::ACKNOWLEDGE | Status::DRIVER;
    transport.write(reg::STATUS, status.bits());
    let features = negotiate(transport)?;
    status |= Status::FEATURES_OK;
    transport.write(reg::STATUS, status.bits());
    if transport.read(reg::STATUS) & Status::FEATURES_OK.bits() == 0 {
        return Err(StartError::FeaturesRefused);
    }
    set_up_queue(transport, receiveq, size)?;
    let started = configuration(transport, features);
    transport.write(reg::STATUS, (status | Status::DRIVER_OK).bits());
    Ok(started)
}

fn negotiate(transport: &mut impl Transport) -> Result<F, StartError> {
    let mut offered = 0;
    for half in 0..2 {
        transport.write(reg::DEVICE_FEATURES_SEL, half);
        offered |= u64::from(transport.read(reg::DEVICE_FEATURES)) << (32 * half);
    }
    let features = F::from_bits_truncate(offered) & WANTED;
    if !features.contains(F::VERSION_1) {
        return Err(StartError::Legacy);
    }
    for half in 0..2 {
        transport.write(reg::DRIVER_FEATURES_SEL, half);
        transport.write(reg::DRIVER_FEATURES, (features.bits() >> (32 * half)) as u32);
    }
    Ok(features)
}

/// See: VIRTIO 4.2.3.2 "Virtqueue Configuration".
fn set_up_queue(transport: &mut impl Transport, at: QueueAddresses, size: u16) -> Result<(), StartError> {
    transport.write(reg::QUEUE_SEL, net::RECEIVEQ1);
    let most = transport.read(reg::QUEUE_SIZE_MAX);
    if transport.read(reg::QUEUE_READY) != 0 {
        return Err(StartError::QueueRefused);
    }
    if most < u32::from(size) {
        return Err(StartError::QueueTooSmall(most));
    }
    transport.write(reg::QUEUE_SIZE, u32::from(size));
    let halves = [
        (reg::QUEUE_DESC_LOW, reg::QUEUE_DESC_HIGH, at.desc),
        (reg::QUEUE_DRIVER_LOW, reg::QUEUE_DRIVER_HIGH, at.driver),
        (reg::QUEUE_DEVICE_LOW, reg::QUEUE_DEVICE_HIGH, at.device),
    ];
    for (low, high, address) in halves {
        transport.write(low, address.0 as u32);
        transport.write(high, (address.0 >> 32) as u32);
    }
    transport.write(reg::QUEUE_READY, 1);
    if transport.read(reg::QUEUE_READY) == 1 { Ok(()) } else { Err(StartError::QueueRefused) }
}

/// Reads the configuration until it did not change meanwhile; a device that changes it for ever is believed at last.
/// See: VIRTIO 2.5.1 "Driver Requirements: Device Configuration Space".
fn configuration(transport: &mut impl Transport, features: F) -> Started {
    const ATTEMPTS: usize = 8;
    let mut words = [0; 3];
    for _ in 0..ATTEMPTS {
        let before = transport.read(reg::CONFIG_GENERATION);
        words = [0, 4, 8].map(|offset| transport.read(reg::CONFIG + offset));
        if transport.read(reg::CONFIG_GENERATION) == before {
            break;
        }
    }
    let [[a, b, c, d], [e, f, _, _], [_, _, g, h]] = words.map(u32::to_le_bytes);
    let mtu = if features.contains(F::MTU) { u16::from_le_bytes([g, h]) } else { 1500 };
    Started { mac: [a, b, c, d, e, f], mtu }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_abi::Gpa;
    use sluice_control::Device;

    struct Registers<'a>(&'a mut Device);

    impl Transport for Registers<'_> {
        fn read(&mut self, register: u32) -> u32 {
            self.0.read(register)
        }
        fn write(&mut self, register: u32, value: u32) {
            self.0.write(register, value);
        }
    }

    struct Fixed(u32);

    impl Transport for Fixed {
        fn read(&mut self, _: u32) -> u32 {
            self.0
        }
        fn write(&mut self, _: u32, _: u32) {}
    }

    const AT: QueueAddresses = QueueAddresses { desc: Gpa(0x1_0000_1000), driver: Gpa(0x2000), device: Gpa(0x3000) };

    #[test]
    fn our_own_device_is_started() {
        let mut device = Device::new([2, 3, 4, 5, 6, 7], 9000);
        let started = start(&mut Registers(&mut device), AT, 256);
        assert_eq!(started, Ok(Started { mac: [2, 3, 4, 5, 6, 7], mtu: 9000 }));
        let queue = device.receiveq().unwrap();
        assert_eq!((queue.size, queue.addresses), (256, AT));
    }

    #[test]
    fn a_queue_larger_than_the_device_has_is_refused_and_the_device_told() {
        let mut device = Device::new([2; 6], 1500);
        assert_eq!(start(&mut Registers(&mut device), AT, 2048), Err(StartError::QueueTooSmall(1024)));
        assert!(Status::from_bits_retain(device.read(reg::STATUS)).contains(Status::FAILED));
    }

    #[test]
    fn what_is_no_device_is_named() {
        assert_eq!(start(&mut Fixed(0), AT, 8), Err(StartError::NoDevice(0, 0)));
        assert_eq!(start(&mut Fixed(u32::MAX), AT, 8), Err(StartError::NoDevice(u32::MAX, u32::MAX)));
    }
}
