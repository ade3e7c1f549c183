//! virtio-net: header, features, configuration. See: VIRTIO 5.1 "Network Device".

pub mod ctrl;
mod hdr;
mod requires;

use bitflags::bitflags;
use core::mem::{offset_of, size_of};
pub use hdr::{HDR_LEN, Hdr, HdrF, Offloads, PLAIN_HDR, gso};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Virtio device ID of a network device. See: VIRTIO 5 "Device Types".
pub const DEVICE_ID: u32 = 1;

/// Length of the largest Ethernet frame that Sluice carries, in bytes.
pub const MAX_FRAME: u16 = u16::MAX;
/// Length of an Ethernet header in bytes. See: IEEE 802.3 clause 3.
pub const ETHERNET_HEADER: u16 = 14;
/// Length of a VLAN tag in bytes. See: IEEE 802.1Q clause 9.
pub const VLAN_TAG: u16 = 4;
/// EtherTypes of VLAN tags, a customer's and a service's. See: IEEE 802.1Q clause 9.
pub const VLAN_TYPES: [u16; 2] = [0x8100, 0x88a8];
/// Largest payload in bytes of a frame to a driver that did not agree on [`F::MTU`]. See: VIRTIO 5.1.6.3 "Setting Up
/// Receive Buffers".
pub const DEFAULT_MTU: u16 = 1500;

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

/// Returns the number of the receive queue of queue pair `pair`, counted from 0. See: VIRTIO 5.1.2 "Virtqueues".
pub const fn receiveq(pair: u16) -> u16 {
    2 * pair
}

/// Returns the number of the transmit queue of queue pair `pair`, counted from 0. See: VIRTIO 5.1.2 "Virtqueues".
pub const fn transmitq(pair: u16) -> u16 {
    2 * pair + 1
}

/// Returns the number of the control queue of a device with `pairs` queue pairs. See: VIRTIO 5.1.2 "Virtqueues".
pub const fn controlq(pairs: u16) -> u16 {
    2 * pairs
}

bitflags! {
    /// Bits of [`Config::status`]. See: VIRTIO 5.1.4 "Device configuration layout".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LinkStatus: u16 {
        /// The link is up.
        const LINK_UP = 1;
        /// The driver is asked to announce itself.
        const ANNOUNCE = 2;
    }
}

/// Device configuration. The device writes it. See: VIRTIO 5.1.4 "Device configuration layout".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Config {
    /// MAC address, valid with [`F::MAC`].
    pub mac: [u8; 6],
    /// [`LinkStatus`] bits, valid with [`F::STATUS`].
    pub status: u16,
    /// Largest number of queue pairs, valid with [`F::MQ`]; 0 otherwise.
    pub max_virtqueue_pairs: u16,
    /// Largest payload of a frame in bytes, valid with [`F::MTU`].
    pub mtu: u16,
}

const _: () = assert!(size_of::<Config>() == 12 && offset_of!(Config, mtu) == 10);
