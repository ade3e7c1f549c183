//! A PCI function. See: VIRTIO 4.1 "Virtio Over PCI Bus".

mod function;
#[cfg(test)]
mod tests;

use super::Transport;
use super::registers::Width;
use crate::StartError;
use core::fmt;
pub use function::{Function, MappedFunction};
use sluice_abi::mmio::Status;
use sluice_abi::net::{self, F};
use sluice_abi::pci::{CONFIG_LEN, DEVICE_ID_BASE, TRANSITIONAL_NET, VENDOR_ID, cap, common, config};
use sluice_abi::virtq::QueueAddresses;

/// Number of queues that can be used: the driver notes where each is notified.
const QUEUES: usize = 64;

/// Reasons for which a PCI function can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciError {
    /// Vendor and device are not those of a virtio device.
    NotVirtio(u16, u16),
    /// There is no capability of this type that lies within a BAR.
    NoCapability(u8),
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotVirtio(vendor, device) => write!(f, "PCI function {vendor:04x}:{device:04x}: no virtio device"),
            Self::NoCapability(kind) => write!(f, "virtio PCI function without a usable capability of type {kind}"),
        }
    }
}

/// A structure that was found to lie within a BAR.
#[derive(Clone, Copy)]
struct Structure {
    bar: u8,
    offset: u32,
    len: u32,
}

/// The device behind a PCI function.
pub struct VirtioPci<P> {
    function: P,
    device_id: u32,
    common: Structure,
    notify: Structure,
    multiplier: u32,
    device: Option<Structure>,
    /// Offset in the BAR at which each queue is notified, in bytes.
    notify_at: [Option<u32>; QUEUES],
}

impl<P: Function> VirtioPci<P> {
    /// Finds the structures of the device behind `function`, and lets it access memory.
    ///
    /// # Errors
    /// [`PciError`].
    pub fn new(mut function: P) -> Result<Self, PciError> {
        let id = function.config(config::ID);
        let device_id = virtio_id(id as u16, (id >> 16) as u16)?;
        let (common, _) = find(&mut function, cap::COMMON_CFG, common::LEN)?;
        let (notify, at) = find(&mut function, cap::NOTIFY_CFG, 2)?;
        let multiplier = function.config(at + cap::NOTIFY_OFF_MULTIPLIER);
        let device = find(&mut function, cap::DEVICE_CFG, 1).ok().map(|(part, _)| part);
        let command = function.config(config::COMMAND) as u16;
        function.set_config(config::COMMAND, u32::from(command) | config::MEMORY_SPACE | config::BUS_MASTER);
        Ok(Self { function, device_id, common, notify, multiplier, device, notify_at: [None; QUEUES] })
    }

    fn read(&mut self, offset: u32, width: Width) -> u32 {
        let Structure { bar, offset: start, .. } = self.common;
        self.function.read(bar, start + offset, width)
    }

    fn write(&mut self, offset: u32, width: Width, value: u32) {
        let Structure { bar, offset: start, .. } = self.common;
        self.function.write(bar, start + offset, width, value);
    }

    fn select(&mut self, queue: u16) {
        self.write(common::QUEUE_SELECT, Width::Two, queue.into());
    }

    /// Returns the offset in the BAR at which the selected queue is notified; `None` if it is outside the structure.
    /// See: VIRTIO 4.1.4.4 "Notification structure layout".
    fn notification(&mut self) -> Option<u32> {
        let multiples = self.read(common::QUEUE_NOTIFY_OFF, Width::Two);
        let within = multiples.checked_mul(self.multiplier)?;
        let fits = within.is_multiple_of(2) && within <= self.notify.len - 2;
        fits.then(|| self.notify.offset + within)
    }

    fn device_config(&mut self, offset: u32, width: Width) -> u32 {
        match self.device {
            Some(part) if part.len >= width.bytes() && offset <= part.len - width.bytes() => {
                self.function.read(part.bar, part.offset + offset, width)
            }
            _ => 0,
        }
    }
}

fn virtio_id(vendor: u16, device: u16) -> Result<u32, PciError> {
    match device.checked_sub(DEVICE_ID_BASE) {
        Some(id) if vendor == VENDOR_ID => Ok(id.into()),
        None if vendor == VENDOR_ID && device == TRANSITIONAL_NET => Ok(net::DEVICE_ID),
        _ => Err(PciError::NotVirtio(vendor, device)),
    }
}

/// Returns the first structure of type `kind` that lies within a BAR and has at least `least` bytes, and the place of
/// its capability in configuration space. A list of capabilities that has a loop is followed no longer than a list can
/// be. See: VIRTIO 4.1.4.1 "Driver Requirements: Virtio Structure PCI Capabilities".
fn find(function: &mut impl Function, kind: u8, least: u32) -> Result<(Structure, u16), PciError> {
    const STEP: u16 = 4;
    let has_list = function.config(config::COMMAND) & config::CAPABILITIES_LIST != 0;
    let mut at = if has_list { function.config(config::CAPABILITIES) as u8 } else { 0 };
    for _ in 0..CONFIG_LEN / STEP {
        let place = u16::from(at & 0xfc);
        if place < 0x40 {
            break;
        }
        let [id, next, len, found] = function.config(place).to_le_bytes();
        let needed = cap::LEN + if kind == cap::NOTIFY_CFG { 4 } else { 0 };
        let usable =
            id == config::VENDOR_SPECIFIC && found == kind && len >= needed && place + u16::from(needed) <= CONFIG_LEN;
        if let Some(part) = structure(function, place).filter(|part| usable && part.len >= least) {
            return Ok((part, place));
        }
        at = next;
    }
    Err(PciError::NoCapability(kind))
}

/// Returns the structure of the capability at `place`; `None` if it is not within a BAR, or not aligned.
fn structure(function: &mut impl Function, place: u16) -> Option<Structure> {
    if place + u16::from(cap::LEN) > CONFIG_LEN {
        return None;
    }
    let bar = function.config(place + cap::BAR) as u8;
    let (offset, len) = (function.config(place + cap::OFFSET), function.config(place + cap::LENGTH));
    let end = u64::from(offset) + u64::from(len);
    let inside = offset.is_multiple_of(4) && end <= function.bar_len(bar).min(1 << 32);
    inside.then_some(Structure { bar, offset, len })
}

impl<P: Function> Transport for VirtioPci<P> {
    fn device_id(&mut self) -> Result<u32, StartError> {
        Ok(self.device_id)
    }

    fn status(&mut self) -> Status {
        Status::from_bits_retain(self.read(common::DEVICE_STATUS, Width::One))
    }

    fn set_status(&mut self, status: Status) {
        self.write(common::DEVICE_STATUS, Width::One, status.bits());
    }

    fn device_features(&mut self) -> F {
        let mut half = |half: u32| {
            self.write(common::DEVICE_FEATURE_SELECT, Width::Four, half);
            u64::from(self.read(common::DEVICE_FEATURE, Width::Four)) << (32 * half)
        };
        F::from_bits_truncate(half(0) | half(1))
    }

    fn set_driver_features(&mut self, features: F) {
        for half in 0..2 {
            self.write(common::DRIVER_FEATURE_SELECT, Width::Four, half);
            self.write(common::DRIVER_FEATURE, Width::Four, (features.bits() >> (32 * half)) as u32);
        }
    }

    fn queue_size_max(&mut self, queue: u16) -> u16 {
        self.select(queue);
        self.read(common::QUEUE_SIZE, Width::Two) as u16
    }

    fn queue_ready(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.read(common::QUEUE_ENABLE, Width::Two) != 0
    }

    /// Puts a queue into use, unless it can't be notified.
    fn enable_queue(&mut self, queue: u16, size: u16, at: QueueAddresses) {
        self.select(queue);
        let notify_at = self.notification();
        let (Some(place), true) = (self.notify_at.get_mut(usize::from(queue)), notify_at.is_some()) else { return };
        *place = notify_at;
        self.write(common::QUEUE_SIZE, Width::Two, size.into());
        let areas =
            [(common::QUEUE_DESC, at.desc), (common::QUEUE_DRIVER, at.driver), (common::QUEUE_DEVICE, at.device)];
        for (field, address) in areas {
            self.write(field, Width::Four, address.0 as u32);
            self.write(field + 4, Width::Four, (address.0 >> 32) as u32);
        }
        self.write(common::QUEUE_ENABLE, Width::Two, 1);
    }

    fn reset_queue(&mut self, queue: u16) {
        self.select(queue);
        if self.common.len >= common::QUEUE_RESET + 2 {
            self.write(common::QUEUE_RESET, Width::Two, 1);
        }
    }

    fn queue_is_reset(&mut self, queue: u16) -> bool {
        let has_reset = self.common.len >= common::QUEUE_RESET + 2;
        !self.queue_ready(queue) && has_reset && self.read(common::QUEUE_RESET, Width::Two) == 0
    }

    fn notify(&mut self, queue: u16) {
        if let Some(&Some(at)) = self.notify_at.get(usize::from(queue)) {
            self.function.write(self.notify.bar, at, Width::Two, queue.into());
        }
    }

    fn config_generation(&mut self) -> u32 {
        self.read(common::CONFIG_GENERATION, Width::One)
    }

    fn config8(&mut self, offset: u32) -> u8 {
        self.device_config(offset, Width::One) as u8
    }

    fn config16(&mut self, offset: u32) -> u16 {
        self.device_config(offset, Width::Two) as u16
    }
}
