//! virtio-mmio register offsets. See: VIRTIO 4.2.2 "MMIO Device Register Layout".

use bitflags::bitflags;

/// `MagicValue`: "virt", little-endian.
pub const MAGIC: u32 = u32::from_le_bytes(*b"virt");
/// `Version` of a device that is not legacy.
pub const VERSION: u32 = 2;
/// Length of one device's registers in bytes.
pub const WINDOW_LEN: u64 = 0x200;

/// Register offsets in bytes, 32 bits each; in brackets who may do what. See: VIRTIO 4.2.2, table "MMIO Device Register
/// Layout".
pub mod reg {
    /// (R) [`super::MAGIC`]
    pub const MAGIC_VALUE: u32 = 0x000;
    /// (R) [`super::VERSION`]
    pub const VERSION: u32 = 0x004;
    /// (R) device type
    pub const DEVICE_ID: u32 = 0x008;
    /// (R) vendor
    pub const VENDOR_ID: u32 = 0x00c;
    /// (R) 32 feature bits, of the half selected
    pub const DEVICE_FEATURES: u32 = 0x010;
    /// (W) the half that `DEVICE_FEATURES` shows: 0 or 1
    pub const DEVICE_FEATURES_SEL: u32 = 0x014;
    /// (W) 32 feature bits accepted
    pub const DRIVER_FEATURES: u32 = 0x020;
    /// (W) the half that `DRIVER_FEATURES` sets: 0 or 1
    pub const DRIVER_FEATURES_SEL: u32 = 0x024;
    /// (W) number of the queue that the queue registers refer to
    pub const QUEUE_SEL: u32 = 0x030;
    /// (R) largest size of that queue, 0 if there is none
    pub const QUEUE_SIZE_MAX: u32 = 0x034;
    /// (W) size of that queue
    pub const QUEUE_SIZE: u32 = 0x038;
    /// (RW) 1: the queue is in use
    pub const QUEUE_READY: u32 = 0x044;
    /// (W) number of the queue that has new buffers
    pub const QUEUE_NOTIFY: u32 = 0x050;
    /// (R) pending interrupt causes
    pub const INTERRUPT_STATUS: u32 = 0x060;
    /// (W) causes handled
    pub const INTERRUPT_ACK: u32 = 0x064;
    /// (RW) [`super::Status`]; writing 0 resets
    pub const STATUS: u32 = 0x070;
    /// (W) descriptor area, low half
    pub const QUEUE_DESC_LOW: u32 = 0x080;
    /// (W) descriptor area, high half
    pub const QUEUE_DESC_HIGH: u32 = 0x084;
    /// (W) driver area, low half
    pub const QUEUE_DRIVER_LOW: u32 = 0x090;
    /// (W) driver area, high half
    pub const QUEUE_DRIVER_HIGH: u32 = 0x094;
    /// (W) device area, low half
    pub const QUEUE_DEVICE_LOW: u32 = 0x0a0;
    /// (W) device area, high half
    pub const QUEUE_DEVICE_HIGH: u32 = 0x0a4;
    /// (W) number of the shared memory region that the registers below refer to
    pub const SHM_SEL: u32 = 0x0ac;
    /// (R) length of that region, low half; all ones in both halves if there is none
    pub const SHM_LEN_LOW: u32 = 0x0b0;
    /// (R) length of that region, high half
    pub const SHM_LEN_HIGH: u32 = 0x0b4;
    /// (R) address of that region, low half; all ones in both halves if there is none
    pub const SHM_BASE_LOW: u32 = 0x0b8;
    /// (R) address of that region, high half
    pub const SHM_BASE_HIGH: u32 = 0x0bc;
    /// (RW) 1: the queue is being reset; only with [`crate::net::F::RING_RESET`]
    pub const QUEUE_RESET: u32 = 0x0c0;
    /// (R) changes whenever the configuration does
    pub const CONFIG_GENERATION: u32 = 0x0fc;
    /// (RW) device configuration starts here
    pub const CONFIG: u32 = 0x100;
}

bitflags! {
    /// Causes of an interrupt. The device sets them, the driver acknowledges them. See: VIRTIO 4.2.2 "MMIO Device
    /// Register Layout", register InterruptStatus.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Interrupt: u32 {
        /// The device used a buffer of a queue whose driver asked for notifications.
        const USED_BUFFER = 1;
        /// The configuration changed.
        const CONFIGURATION = 2;
    }
}

bitflags! {
    /// Device status. See: VIRTIO 2.1 "Device Status Field".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Status: u32 {
        /// The guest has seen the device.
        const ACKNOWLEDGE = 1;
        /// The guest has a driver for it.
        const DRIVER = 2;
        /// The driver is ready.
        const DRIVER_OK = 4;
        /// Features are agreed.
        const FEATURES_OK = 8;
        /// The device met an error that only a reset ends.
        const DEVICE_NEEDS_RESET = 64;
        /// The driver gave up.
        const FAILED = 128;
    }
}
