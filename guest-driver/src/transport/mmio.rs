//! Registers in memory. See: VIRTIO 4.2 "Virtio Over MMIO".

use super::Transport;
use super::registers::{RegisterBlock, Width};
use crate::StartError;
use sluice_abi::mmio::{Interrupt, MAGIC, Status, VERSION, reg};
use sluice_abi::net::F;
use sluice_abi::virtq::QueueAddresses;

/// Registers of a virtio-mmio device, however they are reached. See: VIRTIO 4.2.2 "MMIO Device Register Layout".
pub trait Registers {
    /// Reads the 32-bit register at byte offset `register`.
    fn read(&mut self, register: u32) -> u32;
    /// Writes the 32-bit register at byte offset `register`.
    fn write(&mut self, register: u32, value: u32);

    /// Reads the 8 bits of the device configuration at byte offset `offset`: by default, out of the 32-bit word that
    /// they are in.
    fn read8(&mut self, offset: u32) -> u8 {
        (self.read(offset & !3) >> (8 * (offset & 3))) as u8
    }

    /// Reads the 16 bits of the device configuration at byte offset `offset`, an even number: by default, out of the
    /// 32-bit word that they are in.
    fn read16(&mut self, offset: u32) -> u16 {
        (self.read(offset & !3) >> (8 * (offset & 2))) as u16
    }
}

/// Reads the causes of the interrupt of `device`, and acknowledges these alone. See: VIRTIO 4.2.3.4.1 "Driver
/// Requirements: Notifications From The Device", 4.2.2.2 "Driver Requirements: MMIO Device Register Layout".
pub fn acknowledge(device: &mut impl Registers) -> Interrupt {
    let told = Interrupt::from_bits_truncate(device.read(reg::INTERRUPT_STATUS));
    device.write(reg::INTERRUPT_ACK, told.bits());
    told
}

impl<R: Registers> Transport for R {
    fn device_id(&mut self) -> Result<u32, StartError> {
        match (self.read(reg::MAGIC_VALUE), self.read(reg::VERSION)) {
            (MAGIC, VERSION) => Ok(self.read(reg::DEVICE_ID)),
            (magic, version) => Err(StartError::NoDevice(magic, version)),
        }
    }

    fn status(&mut self) -> Status {
        Status::from_bits_retain(self.read(reg::STATUS))
    }

    fn set_status(&mut self, status: Status) {
        self.write(reg::STATUS, status.bits());
    }

    fn device_features(&mut self) -> F {
        let mut half = |half: u32| {
            self.write(reg::DEVICE_FEATURES_SEL, half);
            u64::from(self.read(reg::DEVICE_FEATURES)) << (32 * half)
        };
        F::from_bits_truncate(half(0) | half(1))
    }

    fn set_driver_features(&mut self, features: F) {
        for half in 0..2 {
            self.write(reg::DRIVER_FEATURES_SEL, half);
            self.write(reg::DRIVER_FEATURES, (features.bits() >> (32 * half)) as u32);
        }
    }

    fn queue_size_max(&mut self, queue: u16) -> u16 {
        self.write(reg::QUEUE_SEL, queue.into());
        u16::try_from(self.read(reg::QUEUE_SIZE_MAX)).unwrap_or(u16::MAX)
    }

    fn queue_ready(&mut self, queue: u16) -> bool {
        self.write(reg::QUEUE_SEL, queue.into());
        self.read(reg::QUEUE_READY) != 0
    }

    fn enable_queue(&mut self, queue: u16, size: u16, at: QueueAddresses) {
        self.write(reg::QUEUE_SEL, queue.into());
        self.write(reg::QUEUE_SIZE, size.into());
        let halves = [
            (reg::QUEUE_DESC_LOW, reg::QUEUE_DESC_HIGH, at.desc),
            (reg::QUEUE_DRIVER_LOW, reg::QUEUE_DRIVER_HIGH, at.driver),
            (reg::QUEUE_DEVICE_LOW, reg::QUEUE_DEVICE_HIGH, at.device),
        ];
        for (low, high, address) in halves {
            self.write(low, address.0 as u32);
            self.write(high, (address.0 >> 32) as u32);
        }
        self.write(reg::QUEUE_READY, 1);
    }

    fn reset_queue(&mut self, queue: u16) {
        self.write(reg::QUEUE_SEL, queue.into());
        self.write(reg::QUEUE_RESET, 1);
    }

    fn queue_is_reset(&mut self, queue: u16) -> bool {
        self.write(reg::QUEUE_SEL, queue.into());
        self.read(reg::QUEUE_RESET) == 0 && self.read(reg::QUEUE_READY) == 0
    }

    fn notify(&mut self, queue: u16) {
        self.write(reg::QUEUE_NOTIFY, queue.into());
    }

    fn config_generation(&mut self) -> u32 {
        self.read(reg::CONFIG_GENERATION)
    }

    /// Reads with the width of the field. See: VIRTIO 4.2.2.2 "Driver Requirements: MMIO Device Register Layout".
    fn config8(&mut self, offset: u32) -> u8 {
        self.read8(reg::CONFIG + offset)
    }

    fn config16(&mut self, offset: u32) -> u16 {
        self.read16(reg::CONFIG + offset)
    }
}

/// The registers of a virtio-mmio device that are mapped in memory.
pub struct VirtioMmio(RegisterBlock);

impl VirtioMmio {
    /// Returns the device with these registers, [`sluice_abi::mmio::WINDOW_LEN`] bytes.
    pub const fn new(registers: RegisterBlock) -> Self {
        Self(registers)
    }
}

impl Registers for VirtioMmio {
    fn read(&mut self, register: u32) -> u32 {
        self.0.read(register, Width::Four)
    }

    fn write(&mut self, register: u32, value: u32) {
        self.0.write(register, Width::Four, value);
    }

    fn read8(&mut self, offset: u32) -> u8 {
        self.0.read(offset, Width::One) as u8
    }

    fn read16(&mut self, offset: u32) -> u16 {
        self.0.read(offset, Width::Two) as u16
    }
}
