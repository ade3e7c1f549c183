//! virtio-pci layouts. See: VIRTIO 4.1 "Virtio Over PCI Bus".

/// Vendor ID of virtio devices. See: VIRTIO 4.1.2 "PCI Device Discovery".
pub const VENDOR_ID: u16 = 0x1af4;
/// Difference of a device's PCI device ID and its virtio device ID.
pub const DEVICE_ID_BASE: u16 = 0x1040;
/// PCI device ID of a network device that also has the legacy interface.
pub const TRANSITIONAL_NET: u16 = 0x1000;

/// Length in bytes of the part of configuration space that holds the list of capabilities.
pub const CONFIG_LEN: u16 = 256;

/// Byte offsets in configuration space. See: PCI Local Bus Specification 3.0, 6.1 "Configuration Space Organization".
pub mod config {
    /// Vendor ID, and device ID in the upper half.
    pub const ID: u16 = 0x00;
    /// Command, and status in the upper half.
    pub const COMMAND: u16 = 0x04;
    /// Command: answer to memory accesses.
    pub const MEMORY_SPACE: u32 = 1 << 1;
    /// Command: access memory.
    pub const BUS_MASTER: u32 = 1 << 2;
    /// Status: there is a list of capabilities.
    pub const CAPABILITIES_LIST: u32 = 1 << (16 + 4);
    /// Offset of the first capability, 8 bits.
    pub const CAPABILITIES: u16 = 0x34;
    /// Capability ID of a vendor's own.
    pub const VENDOR_SPECIFIC: u8 = 0x09;
}

/// Capabilities, which tell where each structure lies. See: VIRTIO 4.1.4 "Virtio Structure PCI Capabilities".
pub mod cap {
    /// `cfg_type`: [`super::common`]
    pub const COMMON_CFG: u8 = 1;
    /// `cfg_type`: the structure that notifications are written to
    pub const NOTIFY_CFG: u8 = 2;
    /// `cfg_type`: device configuration
    pub const DEVICE_CFG: u8 = 4;
    /// `u8 bar`, bytes from the start of the capability
    pub const BAR: u16 = 4;
    /// `le32 offset`
    pub const OFFSET: u16 = 8;
    /// `le32 length`
    pub const LENGTH: u16 = 12;
    /// `le32 notify_off_multiplier`, only with [`NOTIFY_CFG`]
    pub const NOTIFY_OFF_MULTIPLIER: u16 = 16;
    /// Length of a capability without multiplier in bytes.
    pub const LEN: u8 = 16;
}

/// Byte offsets in `struct virtio_pci_common_cfg`; a field has 32 bits unless said otherwise.
/// See: VIRTIO 4.1.4.3 "Common configuration structure layout".
pub mod common {
    /// the half that `DEVICE_FEATURE` shows
    pub const DEVICE_FEATURE_SELECT: u32 = 0;
    /// the features that the device offers in that half
    pub const DEVICE_FEATURE: u32 = 4;
    /// the half that `DRIVER_FEATURE` sets
    pub const DRIVER_FEATURE_SELECT: u32 = 8;
    /// the features that the driver accepts in that half
    pub const DRIVER_FEATURE: u32 = 12;
    /// `u8`, [`crate::mmio::Status`] bits; writing 0 resets the device
    pub const DEVICE_STATUS: u32 = 20;
    /// `u8`, which changes whenever the configuration does
    pub const CONFIG_GENERATION: u32 = 21;
    /// `le16`, number of the queue that the fields behind it refer to
    pub const QUEUE_SELECT: u32 = 22;
    /// `le16`, size of the queue; before it is written, the largest size
    pub const QUEUE_SIZE: u32 = 24;
    /// `le16`, 1 while the queue is in use
    pub const QUEUE_ENABLE: u32 = 28;
    /// `le16`, offset of the queue's notifications, in multiples of [`super::cap::NOTIFY_OFF_MULTIPLIER`]
    pub const QUEUE_NOTIFY_OFF: u32 = 30;
    /// `le64`, descriptor area
    pub const QUEUE_DESC: u32 = 32;
    /// `le64`, driver area
    pub const QUEUE_DRIVER: u32 = 40;
    /// `le64`, device area
    pub const QUEUE_DEVICE: u32 = 48;
    /// `le16`, 1 while the queue is being reset; only with [`crate::net::F::RING_RESET`]
    pub const QUEUE_RESET: u32 = 58;
    /// Length in bytes of the part that every device has.
    pub const LEN: u32 = 56;
}
