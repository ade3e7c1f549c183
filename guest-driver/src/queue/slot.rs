//! Slots of a packed ring: where one is, and what both sides write into it.

use sluice_abi::packed::DescF;

/// A slot of the ring in bits 30:0, and in bit 31 the wrap counter of its lap.
/// See: VIRTIO 2.8.1 "Driver and Device Ring Wrap Counters".
#[derive(Clone, Copy)]
pub(super) struct Place(u32);

const WRAP: u32 = 1 << 31;
/// Where both sides begin.
pub(super) const START: Place = Place(WRAP);

impl Place {
    #[inline(always)]
    pub const fn slot(self) -> u16 {
        self.0 as u16
    }

    #[inline(always)]
    pub const fn wrap(self) -> bool {
        self.0 & WRAP != 0
    }

    #[inline(always)]
    pub const fn advance(self, slots: u16, size: u16) -> Self {
        let next = self.0 + slots as u32;
        if next & !WRAP < size as u32 { Self(next) } else { Self((next - size as u32) ^ WRAP) }
    }
}

/// What the device can change of a descriptor: length, id, flags.
#[derive(Clone, Copy)]
pub(super) struct Word(pub u64);

impl Word {
    #[inline(always)]
    pub const fn new(len: u32, id: u16, flags: DescF) -> Self {
        Self(len as u64 | (id as u64) << 32 | (flags.bits() as u64) << 48)
    }

    pub const fn flags(self) -> DescF {
        DescF::from_bits_retain((self.0 >> 48) as u16)
    }

    pub const fn id(self) -> u32 {
        (self.0 >> 32) as u16 as u32
    }

    /// Bytes that the device wrote: without the flag there are none, whatever `len` says.
    /// See: VIRTIO 2.8.4 "Element Address and Length".
    #[inline(always)]
    pub const fn len(self) -> u32 {
        if self.flags().contains(DescF::WRITE) { self.0 as u32 } else { 0 }
    }

    /// The two bits that say whose the descriptor is.
    #[inline(always)]
    pub const fn owner(self) -> DescF {
        self.flags().intersection(DescF::AVAIL.union(DescF::USED))
    }
}
