//! Packed virtqueue layout. See: VIRTIO 2.8 "Packed Virtqueues". All fields are little-endian, as is the CPU.

use crate::Gpa;
use bitflags::bitflags;
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Largest queue size; it need not be a power of two. See: VIRTIO 2.8 "Packed Virtqueues".
pub const MAX_SIZE: u16 = 32_768;

/// A descriptor. The driver writes it to make a buffer available; the device writes `len`, `id` and `flags` to mark
/// it used. See: VIRTIO 2.8.13 "The Virtqueue Descriptor Table".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Desc {
    /// Address of the buffer.
    pub addr: Gpa,
    /// Length of the buffer in bytes; in a used descriptor, the number of bytes that the device wrote.
    pub len: u32,
    /// The driver's number for the buffer, valid in the last descriptor of a chain.
    pub id: u16,
    /// [`DescF`] bits.
    pub flags: u16,
}

const _: () = assert!(size_of::<Desc>() == 16);
const _: () = assert!(offset_of!(Desc, len) == 8 && offset_of!(Desc, id) == 12 && offset_of!(Desc, flags) == 14);

bitflags! {
    /// Descriptor flags. See: VIRTIO 2.8.13 "The Virtqueue Descriptor Table", 2.8.1 "Driver and Device Ring Wrap
    /// Counters".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DescF: u16 {
        /// The chain goes on in the next slot of the ring.
        const NEXT = 1;
        /// The device writes this buffer (else it reads it).
        const WRITE = 2;
        /// The buffer holds a table of descriptors.
        const INDIRECT = 4;
        /// The driver's wrap counter when it made the descriptor available.
        const AVAIL = 1 << 7;
        /// The device's wrap counter when it used it; the inverse of `AVAIL` until then.
        const USED = 1 << 15;
    }
}

impl DescF {
    /// Returns the two bits of a descriptor that is available in a lap of wrap counter `wrap`.
    pub const fn available(wrap: bool) -> Self {
        if wrap { Self::AVAIL } else { Self::USED }
    }

    /// Returns the two bits of a descriptor that is used in a lap of wrap counter `wrap`.
    pub const fn used(wrap: bool) -> Self {
        if wrap { Self::AVAIL.union(Self::USED) } else { Self::empty() }
    }
}

/// The notifications that one side wants. The driver writes the one at [`crate::virtq::QueueAddresses::driver`], the
/// device the one at [`crate::virtq::QueueAddresses::device`]; the other side reads it. See: VIRTIO 2.8.14 "Event
/// Suppression Structure Format".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventSuppress {
    /// Slot (bits 14:0) and wrap counter (bit 15) of the descriptor whose use is to be notified, valid with
    /// [`event::DESC`].
    pub desc: u16,
    /// One of [`event`] in bits 1:0.
    pub flags: u16,
}

const _: () = assert!(size_of::<EventSuppress>() == 4 && offset_of!(EventSuppress, flags) == 2);

/// Values of [`EventSuppress::flags`]. See: VIRTIO 2.8.10 "Driver and Device Event Suppression".
pub mod event {
    /// Every descriptor is notified.
    pub const ENABLE: u16 = 0;
    /// No descriptor is notified.
    pub const DISABLE: u16 = 1;
    /// One descriptor is notified; only with [`crate::net::F::EVENT_IDX`].
    pub const DESC: u16 = 2;
}

/// Returns the length in bytes of a ring of `size` descriptors.
pub const fn ring_len(size: u16) -> u64 {
    size_of::<Desc>() as u64 * size as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_in_one_lap_is_used_in_no_lap() {
        for wrap in [false, true] {
            assert_ne!(DescF::available(wrap), DescF::used(wrap));
            assert_ne!(DescF::available(wrap), DescF::used(!wrap));
            assert_ne!(DescF::available(wrap), DescF::available(!wrap));
        }
    }
}
