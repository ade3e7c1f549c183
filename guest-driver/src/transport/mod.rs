//! Transports, by which a driver reaches its device. See: VIRTIO 4 "Virtio Transport Options".
//!
//! # Why not the transports of the crate `virtio-drivers`
//! They were tried on (0.13). A device side is hostile here, and they trust it: a notification offset out of range is a
//! panic, `offset + length` of a PCI capability may wrap, dropping a transport or disabling a queue waits for the
//! device without a bound, and so does a read of the configuration. Volatile accesses as they make them may be folded
//! into arithmetic, which hosts that emulate registers do not decode. And there is no reset of a single queue.

mod mmio;
mod pci;
mod registers;

use crate::StartError;
pub use mmio::{Registers, VirtioMmio, acknowledge};
pub use pci::{Function, MappedFunction, PciError, VirtioPci};
pub use registers::{RegisterBlock, Width};
use sluice_abi::mmio::Status;
use sluice_abi::net::F;
use sluice_abi::virtq::QueueAddresses;

/// A device's control plane.
pub trait Transport {
    /// Returns the device ID.
    ///
    /// # Errors
    /// [`StartError::NoDevice`] if there is no device that this driver can speak to.
    fn device_id(&mut self) -> Result<u32, StartError>;
    /// Returns the device status.
    fn status(&mut self) -> Status;
    /// Writes the device status. An empty status resets the device; the reset is done when [`Transport::status`] is
    /// empty.
    fn set_status(&mut self, status: Status);
    /// Returns the features that the device offers.
    fn device_features(&mut self) -> F;
    /// Accepts `features`.
    fn set_driver_features(&mut self, features: F);
    /// Returns the largest size of queue `queue`; 0 if there is no such queue.
    fn queue_size_max(&mut self, queue: u16) -> u16;
    /// Returns whether queue `queue` is in use.
    fn queue_ready(&mut self, queue: u16) -> bool;
    /// Puts queue `queue` of `size` entries, whose areas are `at`, into use.
    fn enable_queue(&mut self, queue: u16, size: u16, at: QueueAddresses);
    /// Takes queue `queue` out of use; only with [`F::RING_RESET`]. See: VIRTIO 2.6.1 "Virtqueue Reset".
    fn reset_queue(&mut self, queue: u16);
    /// Returns whether the reset of queue `queue` is done, and its memory the driver's again.
    fn queue_is_reset(&mut self, queue: u16) -> bool;
    /// Notifies the device of new buffers in queue `queue`. See: VIRTIO 2.9 "Driver Notifications", without
    /// `VIRTIO_F_NOTIFICATION_DATA`.
    fn notify(&mut self, queue: u16);
    /// Returns a number that changes when the configuration does.
    fn config_generation(&mut self) -> u32;
    /// Returns the 8 bits of the device configuration at byte `offset`; 0 where there are none.
    fn config8(&mut self, offset: u32) -> u8;
    /// Returns the 16 bits of the device configuration at byte `offset`, an even number; 0 where there are none.
    fn config16(&mut self, offset: u32) -> u16;
}
