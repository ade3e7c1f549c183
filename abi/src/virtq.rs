//! Split virtqueue layout. See: VIRTIO 2.7 "Split Virtqueues". All fields are little-endian, as is the CPU.

use crate::Gpa;
use bitflags::bitflags;
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Largest queue size. See: VIRTIO 2.7 "Split Virtqueues".
pub const MAX_SIZE: u16 = 32_768;

/// Largest number of descriptors of one chain that the device side follows, and that the driver side makes, where the
/// queue is longer. Linux uses at most 19, and 64 of 1,526 bytes hold the longest frame. See: VIRTIO 2.8.18 "Device
/// Requirements: Scatter-Gather Support".
pub const MAX_CHAIN: u16 = 64;

/// Returns the largest number of descriptors of one chain in a queue of `size` entries. A descriptor that refers to a
/// table does not count. See: VIRTIO 2.7.5.3.1 "Driver Requirements: Indirect Descriptors", 2.8.17 "Driver
/// Requirements: Scatter-Gather Support".
pub const fn max_chain(size: u16) -> u16 {
    if size < MAX_CHAIN { size } else { MAX_CHAIN }
}

/// Returns where the device side of a queue with these features begins, in vhost-user's form: at index 0 of a split
/// ring, and at slot 0 of a packed ring with both wrap counters set. See: "Vhost-user Protocol", "Ring states".
pub const fn start(features: u64) -> u32 {
    if features & crate::net::F::RING_PACKED.bits() == 0 { 0 } else { 1 << 15 | 1 << 31 }
}

/// A descriptor. The driver writes it, the device reads it.
/// See: VIRTIO 2.7.5 "The Virtqueue Descriptor Table".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Desc {
    /// Address of the buffer.
    pub addr: Gpa,
    /// Length of the buffer in bytes.
    pub len: u32,
    /// [`DescF`] bits.
    pub flags: u16,
    /// Next descriptor of the chain, if [`DescF::NEXT`].
    pub next: u16,
}

const _: () = assert!(size_of::<Desc>() == 16);
const _: () = assert!(offset_of!(Desc, len) == 8 && offset_of!(Desc, flags) == 12 && offset_of!(Desc, next) == 14);

bitflags! {
    /// Descriptor flags. See: VIRTIO 2.7.5 "The Virtqueue Descriptor Table".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DescF: u16 {
        /// The chain goes on at `next`.
        const NEXT = 1;
        /// The device writes this buffer (else it reads it).
        const WRITE = 2;
        /// The buffer holds a table of descriptors.
        const INDIRECT = 4;
    }
}

bitflags! {
    /// Available ring flags, written by the driver. See: VIRTIO 2.7.6 "The Virtqueue Available Ring".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AvailF: u16 {
        /// The driver asks for no interrupt, as it polls. The flag is a hint, and is undefined with
        /// [`crate::net::F::EVENT_IDX`].
        const NO_INTERRUPT = 1;
    }
}

bitflags! {
    /// Used ring flags, written by the device. See: VIRTIO 2.7.8 "The Virtqueue Used Ring".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct UsedF: u16 {
        /// The device asks for no notification, as it polls. The flag is a hint, and is undefined with
        /// [`crate::net::F::EVENT_IDX`].
        const NO_NOTIFY = 1;
    }
}

/// Byte offsets in the available ring (driver writes, device reads).
/// See: VIRTIO 2.7.6 "The Virtqueue Available Ring".
pub mod avail {
    /// `le16 flags`
    pub const FLAGS: u64 = 0;
    /// `le16 idx`
    pub const IDX: u64 = 2;
    /// `le16 ring[size]`
    pub const RING: u64 = 4;

    /// Returns the offset of `le16 used_event` in a ring of `size` entries, which is there with
    /// [`crate::net::F::EVENT_IDX`].
    pub const fn used_event(size: u16) -> u64 {
        RING + 2 * size as u64
    }

    /// Returns the length in bytes of a ring of `size` entries, with `used_event`.
    pub const fn len(size: u16) -> u64 {
        RING + 2 * size as u64 + 2
    }
}

/// Byte offsets in the used ring (device writes, driver reads).
/// See: VIRTIO 2.7.8 "The Virtqueue Used Ring".
pub mod used {
    /// `le16 flags`
    pub const FLAGS: u64 = 0;
    /// `le16 idx`
    pub const IDX: u64 = 2;
    /// `struct virtq_used_elem ring[size]`
    pub const RING: u64 = 4;

    /// Returns the offset of `le16 avail_event` in a ring of `size` entries, which is there with
    /// [`crate::net::F::EVENT_IDX`].
    pub const fn avail_event(size: u16) -> u64 {
        RING + 8 * size as u64
    }

    /// Returns the length in bytes of a ring of `size` entries, with `avail_event`.
    pub const fn len(size: u16) -> u64 {
        RING + 8 * size as u64 + 2
    }
}

/// Returns the length in bytes of a descriptor table of `size` entries.
pub const fn desc_table_len(size: u16) -> u64 {
    size_of::<Desc>() as u64 * size as u64
}

/// An element of the used ring. The device writes it, the driver reads it.
/// See: VIRTIO 2.7.8 "The Virtqueue Used Ring".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UsedElem {
    /// Index of the first descriptor of the chain that was used.
    pub id: u32,
    /// Number of bytes that the device wrote into the chain.
    pub len: u32,
}

const _: () = assert!(size_of::<UsedElem>() == 8 && offset_of!(UsedElem, len) == 4);

/// The addresses of one queue's areas. The driver chooses them. See: VIRTIO 2.6 "Virtqueues".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct QueueAddresses {
    /// Descriptor area, 16-byte aligned: descriptor table, or packed ring.
    pub desc: Gpa,
    /// Driver area: available ring, 2-byte aligned, or driver event suppression of a packed ring, 4-byte aligned.
    pub driver: Gpa,
    /// Device area, 4-byte aligned: used ring, or device event suppression of a packed ring.
    pub device: Gpa,
}
