//! virtio-net: header, features, configuration. See: VIRTIO 5.1 "Network Device".

pub mod ctrl;
mod features;
mod hdr;
mod requires;

use bitflags::bitflags;
use core::mem::{offset_of, size_of};
pub use features::F;
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
