//! Rings as they lie in memory: the accesses of a driver, and the few of a device side that only ends what others
//! began.

use crate::arena::SIZE;
use sluice_abi::packed::{self, EventSuppress, event};
use sluice_abi::virtq::{self, AvailF, Desc, DescF, QueueAddresses, UsedElem, avail, used};
use sluice_abi::{Gpa, RingIdx};
use sluice_memory::{Cell16, PeerSlice};
use std::mem::offset_of;

/// Where driver and device area are within a ring's memory.
const DRIVER: u64 = 0x2000;
const DEVICE: u64 = 0x3000;
const _: () = assert!(virtq::desc_table_len(SIZE) <= DRIVER && packed::ring_len(SIZE) <= DRIVER);
const _: () = assert!(DRIVER + avail::len(SIZE) <= DEVICE && DEVICE + used::len(SIZE) <= crate::arena::RING_LEN);

/// A ring. Positions count on from 0 and go round with 16 bits.
#[derive(Clone)]
pub enum Layout {
    /// See: VIRTIO 2.7 "Split Virtqueues".
    Split(Split),
    /// See: VIRTIO 2.8 "Packed Virtqueues".
    Packed(Packed),
}

/// A split ring; entry and descriptor have the same number.
#[derive(Clone)]
pub struct Split {
    desc: sluice_memory::Ring<'static, Desc>,
    heads: sluice_memory::Ring<'static, u16>,
    avail_idx: Cell16<'static>,
    elements: sluice_memory::Ring<'static, UsedElem>,
    used_idx: Cell16<'static>,
}

/// A packed ring, the descriptors in words: address; then length, id and flags.
#[derive(Clone)]
pub struct Packed {
    words: sluice_memory::Ring<'static, u64>,
    flags: Vec<Cell16<'static>>,
}

fn areas(at: Gpa) -> QueueAddresses {
    QueueAddresses { desc: at, driver: Gpa(at.0 + DRIVER), device: Gpa(at.0 + DEVICE) }
}

impl Split {
    /// At `at`, which is where `memory` is. The driver polls.
    pub fn lay(at: Gpa, memory: PeerSlice<'static>) -> Option<(Layout, QueueAddresses)> {
        memory.cell16(DRIVER + avail::FLAGS)?.store_release(AvailF::NO_INTERRUPT.bits());
        let split = Self {
            desc: memory.ring(0, SIZE)?,
            heads: memory.ring(DRIVER + avail::RING, SIZE)?,
            avail_idx: memory.cell16(DRIVER + avail::IDX)?,
            elements: memory.ring(DEVICE + used::RING, SIZE)?,
            used_idx: memory.cell16(DEVICE + used::IDX)?,
        };
        Some((Layout::Split(split), areas(at)))
    }

    fn give(&self, at: u16, addr: Gpa, len: u32) {
        self.desc.set(at, Desc { addr, len, flags: DescF::WRITE.bits(), next: 0 });
        self.heads.set(at, at % SIZE);
    }
}

impl Packed {
    /// At `at`, which is where `memory` is. The driver polls.
    pub fn lay(at: Gpa, memory: PeerSlice<'static>) -> Option<(Layout, QueueAddresses)> {
        memory.cell16(DRIVER + offset_of!(EventSuppress, flags) as u64)?.store_release(event::DISABLE);
        let flags = |slot| memory.cell16(16 * u64::from(slot) + offset_of!(packed::Desc, flags) as u64);
        let packed = Self { words: memory.ring(0, 2 * SIZE)?, flags: (0..SIZE).map(flags).collect::<Option<_>>()? };
        Some((Layout::Packed(packed), areas(at)))
    }

    /// Writes length, id and old flags, then the new flags: a driver that finds the new flags finds the rest.
    fn write(&self, at: u16, len: u32, flags: packed::DescF) {
        let (slot, cell) = (at % SIZE, &self.flags[usize::from(at % SIZE)]);
        let word = u64::from(len) | u64::from(slot) << 32 | u64::from(cell.load_acquire()) << 48;
        self.words.set(2 * slot + 1, word);
        cell.store_release(flags.bits());
    }

    fn is_used(&self, at: u16) -> bool {
        let flags = packed::DescF::from_bits_retain(self.flags[usize::from(at % SIZE)].load_acquire());
        flags & (packed::DescF::AVAIL | packed::DescF::USED) == packed::DescF::used(wrap(at))
    }
}

/// The wrap counter at position `at`: true in the first lap.
const fn wrap(at: u16) -> bool {
    (at / SIZE).is_multiple_of(2)
}

impl Layout {
    /// The driver gives a buffer at position `at`.
    #[inline]
    pub fn give(&self, at: u16, addr: Gpa, len: u32) {
        match self {
            Self::Split(ring) => ring.give(at, addr, len),
            Self::Packed(ring) => {
                ring.words.set(2 * (at % SIZE), addr.0);
                ring.write(at, len, packed::DescF::WRITE | packed::DescF::available(wrap(at)));
            }
        }
    }

    /// The driver has given all buffers before position `end`.
    #[inline]
    pub fn show(&self, end: u16) {
        if let Self::Split(ring) = self {
            ring.avail_idx.store_release(end);
        }
    }

    /// Returns the number of used buffers from position `at` on, at most `most`.
    #[inline]
    pub fn ready(&self, at: u16, most: u16) -> u16 {
        match self {
            Self::Split(ring) => RingIdx(ring.used_idx.load_acquire()).ahead_of(RingIdx(at)).min(most),
            Self::Packed(ring) => (0..most).take_while(|count| ring.is_used(at.wrapping_add(*count))).count() as u16,
        }
    }

    /// Which buffer came back at position `at`, and how many bytes are in it.
    #[inline]
    pub fn used(&self, at: u16) -> (u32, u32) {
        match self {
            Self::Split(ring) => {
                let UsedElem { id, len } = ring.elements.get(at);
                (id, len)
            }
            Self::Packed(ring) => {
                let word = ring.words.get(2 * (at % SIZE) + 1);
                (u32::from((word >> 32) as u16), word as u32)
            }
        }
    }

    /// A device side uses the `count` buffers from position `at` on; `len` says how many bytes are in each.
    pub fn use_all(&self, at: u16, count: u16, len: impl Fn(u16) -> u32) {
        for (at, len) in (0..count).map(|index| (at.wrapping_add(index), len(index))) {
            match self {
                Self::Split(ring) => ring.elements.set(at, UsedElem { id: u32::from(at % SIZE), len }),
                Self::Packed(ring) => ring.write(at, len, packed::DescF::used(wrap(at))),
            }
        }
        if let Self::Split(ring) = self {
            ring.used_idx.store_release(at.wrapping_add(count));
        }
    }
}
