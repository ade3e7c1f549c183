//! Slots of a packed ring: the position of one, and the word that both sides write into it.

use sluice_abi::packed::DescF;

/// A slot of the ring in bits 30:0, and in bit 31 the wrap counter of its lap.
/// See: VIRTIO 2.8.1 "Driver and Device Ring Wrap Counters".
#[derive(Clone, Copy)]
pub(super) struct PackedPosition(u32);

const WRAP: u32 = 1 << 31;
/// The position at which both sides begin.
pub(super) const START: PackedPosition = PackedPosition(WRAP);

impl PackedPosition {
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

/// The word of a descriptor that the device can change: length, id and flags.
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

    /// Returns the number of bytes that the device wrote: 0 without the flag, whatever `len` is.
    /// See: VIRTIO 2.8.4 "Element Address and Length".
    #[inline(always)]
    pub const fn len(self) -> u32 {
        if self.flags().contains(DescF::WRITE) { self.0 as u32 } else { 0 }
    }

    /// Returns the two bits that tell which side owns the descriptor.
    #[inline(always)]
    pub const fn owner(self) -> DescF {
        self.flags().intersection(DescF::AVAIL.union(DescF::USED))
    }
}
