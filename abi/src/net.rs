//! virtio-net: header, features, configuration. See: VIRTIO 5.1 "Network Device".

use bitflags::bitflags;
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Virtio device ID of a network device. See: VIRTIO 5 "Device Types".
pub const DEVICE_ID: u32 = 1;

/// Largest Ethernet frame that Sluice carries, bytes: a 16-bit length.
pub const MAX_FRAME: u16 = u16::MAX;

/// The header before each frame. See: VIRTIO 5.1.6 "Device Operation".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Hdr {
    /// `VIRTIO_NET_HDR_F_*` bits.
    pub flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`.
    pub gso_type: u8,
    /// Bytes of headers before the first segment's payload.
    pub hdr_len: u16,
    /// Bytes of payload per segment.
    pub gso_size: u16,
    /// Where checksumming starts, bytes from the start of the frame.
    pub csum_start: u16,
    /// Where the checksum goes, bytes from `csum_start`.
    pub csum_offset: u16,
    /// Descriptor chains that hold this frame; 1 without mergeable buffers.
    pub num_buffers: u16,
}

/// Bytes of [`Hdr`] on the wire.
pub const HDR_LEN: u32 = size_of::<Hdr>() as u32;
const _: () = assert!(HDR_LEN == 12 && offset_of!(Hdr, num_buffers) == 10);

/// The header of a frame that needs nothing done: all zero but `num_buffers`, 1. See: VIRTIO 5.1.6.4.1 "Device Requirements:
/// Processing of Incoming Packets".
pub const PLAIN_HDR: [u8; HDR_LEN as usize] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

bitflags! {
    /// Feature bits that Sluice knows. See: VIRTIO 5.1.3 "Feature bits", 6 "Reserved Feature Bits".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct F: u64 {
        /// Configuration has an MTU.
        const MTU = 1 << 3;
        /// Configuration has a MAC.
        const MAC = 1 << 5;
        /// Configuration has a link status.
        const STATUS = 1 << 16;
        /// The device follows VIRTIO 1.0 or later.
        const VERSION_1 = 1 << 32;
    }
}

/// The queue that the device fills, in a device with one queue pair.
/// See: VIRTIO 5.1.2 "Virtqueues".
pub const RECEIVEQ1: u32 = 0;
/// The queue that the driver fills, in a device with one queue pair.
pub const TRANSMITQ1: u32 = 1;

/// Device configuration. The device writes it. See: VIRTIO 5.1.4 "Device configuration layout".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Config {
    /// MAC address, valid with [`F::MAC`].
    pub mac: [u8; 6],
    /// Bit 0: link is up, valid with [`F::STATUS`].
    pub status: u16,
    /// Queue pairs, valid with multiqueue; 0 otherwise.
    pub max_virtqueue_pairs: u16,
    /// Largest payload of a frame, bytes, valid with [`F::MTU`].
    pub mtu: u16,
}

const _: () = assert!(size_of::<Config>() == 12 && offset_of!(Config, mtu) == 10);
