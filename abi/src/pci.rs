//! virtio-pci layouts. See: VIRTIO 4.1 "Virtio Over PCI Bus".

/// Vendor ID of virtio devices. See: VIRTIO 4.1.2 "PCI Device Discovery".
pub const VENDOR_ID: u16 = 0x1af4;
/// PCI device ID less virtio device ID.
pub const DEVICE_ID_BASE: u16 = 0x1040;
/// PCI device ID of a network device that also has the legacy interface.
pub const TRANSITIONAL_NET: u16 = 0x1000;

/// Bytes of configuration space that hold the list of capabilities.
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

/// Capabilities: which structure lies where. See: VIRTIO 4.1.4 "Virtio Structure PCI Capabilities".
pub mod cap {
    /// `cfg_type`: [`super::common`]
    pub const COMMON_CFG: u8 = 1;
    /// `cfg_type`: where notifications are written
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
    /// Bytes of a capability without multiplier.
    pub const LEN: u8 = 16;
}

/// Byte offsets in `struct virtio_pci_common_cfg`; a field has 32 bits unless said otherwise.
/// See: VIRTIO 4.1.4.3 "Common configuration structure layout".
pub mod common {
    /// which half of the features is offered
    pub const DEVICE_FEATURE_SELECT: u32 = 0;
    /// the features of that half
    pub const DEVICE_FEATURE: u32 = 4;
    /// which half of the features is accepted
    pub const DRIVER_FEATURE_SELECT: u32 = 8;
    /// the features of that half
    pub const DRIVER_FEATURE: u32 = 12;
    /// `u8`
    pub const DEVICE_STATUS: u32 = 20;
    /// `u8`
    pub const CONFIG_GENERATION: u32 = 21;
    /// `le16`, which queue the fields behind it mean
    pub const QUEUE_SELECT: u32 = 22;
    /// `le16`, before it is written: the largest that there is
    pub const QUEUE_SIZE: u32 = 24;
    /// `le16`
    pub const QUEUE_ENABLE: u32 = 28;
    /// `le16`, where the queue is notified, in multiples
    pub const QUEUE_NOTIFY_OFF: u32 = 30;
    /// `le64`, descriptor area
    pub const QUEUE_DESC: u32 = 32;
    /// `le64`, driver area
    pub const QUEUE_DRIVER: u32 = 40;
    /// `le64`, device area
    pub const QUEUE_DEVICE: u32 = 48;
    /// `le16`, only with [`crate::net::F::RING_RESET`]
    pub const QUEUE_RESET: u32 = 58;
    /// Bytes that every device has.
    pub const LEN: u32 = 56;
}
