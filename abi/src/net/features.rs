//! The features of a network device that Sluice knows.

use bitflags::bitflags;

bitflags! {
    /// Feature bits that Sluice knows. See: VIRTIO 5.1.3 "Feature bits", 6 "Reserved Feature Bits".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct F: u64 {
        /// The device takes frames whose checksum is incomplete.
        const CSUM = 1 << 0;
        /// The driver takes frames whose checksum is incomplete.
        const GUEST_CSUM = 1 << 1;
        /// Configuration has an MTU.
        const MTU = 1 << 3;
        /// Configuration has a MAC.
        const MAC = 1 << 5;
        /// The driver takes TCP segments over IPv4 that are longer than the MTU.
        const GUEST_TSO4 = 1 << 7;
        /// The driver takes TCP segments over IPv6 that are longer than the MTU.
        const GUEST_TSO6 = 1 << 8;
        /// The driver takes such TCP segments with ECN.
        const GUEST_ECN = 1 << 9;
        /// The driver takes UDP datagrams to be fragmented.
        const GUEST_UFO = 1 << 10;
        /// The device takes TCP segments over IPv4 that are longer than the MTU.
        const HOST_TSO4 = 1 << 11;
        /// The device takes TCP segments over IPv6 that are longer than the MTU.
        const HOST_TSO6 = 1 << 12;
        /// The device takes such TCP segments with ECN.
        const HOST_ECN = 1 << 13;
        /// The device takes UDP datagrams to be fragmented.
        const HOST_UFO = 1 << 14;
        /// A frame may fill several buffers of the receive queue.
        const MRG_RXBUF = 1 << 15;
        /// Configuration has a link status.
        const STATUS = 1 << 16;
        /// There is a control queue.
        const CTRL_VQ = 1 << 17;
        /// Receive modes are set over the control queue.
        const CTRL_RX = 1 << 18;
        /// VLANs are filtered over the control queue.
        const CTRL_VLAN = 1 << 19;
        /// The device can ask the driver to announce itself.
        const GUEST_ANNOUNCE = 1 << 21;
        /// There are several queue pairs.
        const MQ = 1 << 22;
        /// The MAC is set over the control queue.
        const CTRL_MAC_ADDR = 1 << 23;
        /// Descriptors may point to tables of descriptors.
        const INDIRECT_DESC = 1 << 28;
        /// Each side says at which entry it wants to be notified.
        const EVENT_IDX = 1 << 29;
        /// The device follows VIRTIO 1.0 or later.
        const VERSION_1 = 1 << 32;
        /// Addresses are translated by the platform.
        const ACCESS_PLATFORM = 1 << 33;
        /// Queues have the packed layout.
        const RING_PACKED = 1 << 34;
        /// Buffers are used in the order in which they were made available.
        const IN_ORDER = 1 << 35;
        /// Memory accesses are ordered by the platform's rules.
        const ORDER_PLATFORM = 1 << 36;
        /// A single queue can be reset.
        const RING_RESET = 1 << 40;
    }
}
