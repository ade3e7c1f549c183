//! Buffers of several pieces, and the tables that hold them where a descriptor may point to a table.

use sluice_abi::{Gpa, packed, virtq};
use sluice_memory::{PeerSlice, Plain};

/// Number of descriptors of one indirect table. Longer chains go into the ring itself.
pub(super) const TABLE: u16 = 16;
/// Length of one indirect table in bytes. Split and packed descriptors have the same size.
pub(super) const TABLE_LEN: u64 = virtq::desc_table_len(TABLE);

const _: () = assert!(TABLE_LEN == packed::ring_len(TABLE));

/// A buffer: pieces that the device reads, then pieces that it writes.
/// See: VIRTIO 2.7.4.2 "Driver Requirements: Message Framing", 2.8.17 "Driver Requirements: Scatter-Gather Support".
#[derive(Clone, Copy)]
pub(super) struct Chain<'a> {
    readable: &'a [(Gpa, u32)],
    writable: &'a [(Gpa, u32)],
    /// Number of pieces.
    pub count: u16,
    /// Number of bytes that the device may write.
    pub writable_len: u32,
}

/// A piece of a buffer, which one descriptor describes.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub at: Gpa,
    pub len: u32,
    pub write: bool,
    pub last: bool,
}

impl<'a> Chain<'a> {
    /// Returns the chain of these pieces; `None` if there are none, one is empty, or all together have 4 GiB or more.
    /// See: VIRTIO 2.7.5.2 "Driver Requirements: The Virtqueue Descriptor Table".
    pub fn new(readable: &'a [(Gpa, u32)], writable: &'a [(Gpa, u32)]) -> Option<Self> {
        let len = |pieces: &[(Gpa, u32)]| {
            pieces.iter().try_fold(0u32, |sum, &(_, len)| sum.checked_add(len).filter(|_| len > 0))
        };
        let writable_len = len(writable)?;
        len(readable)?.checked_add(writable_len)?;
        let count = u16::try_from(readable.len() + writable.len()).ok().filter(|&count| count > 0)?;
        Some(Self { readable, writable, count, writable_len })
    }

    /// Returns the pieces in their order.
    pub fn pieces(self) -> impl Iterator<Item = Piece> + 'a {
        let all =
            self.readable.iter().map(|piece| (piece, false)).chain(self.writable.iter().map(|piece| (piece, true)));
        let last = usize::from(self.count) - 1;
        all.enumerate().map(move |(index, (&(at, len), write))| Piece { at, len, write, last: index == last })
    }
}

/// The tables of descriptors, one for each number of a buffer. The driver writes them, the device reads them.
/// See: VIRTIO 2.7.5.3 "Indirect Descriptors", 2.8.7 "Indirect Flag: Scatter-Gather Support".
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub memory: PeerSlice<'static>,
    pub gpa: Gpa,
}

impl Tables {
    /// Writes the `descriptor` of each piece into the table of buffer `number`, and returns the table's address; `None`
    /// for more than [`TABLE`] pieces, or a single one.
    pub fn write<D: Plain>(self, number: u16, chain: Chain<'_>, descriptor: impl Fn(u16, Piece) -> D) -> Option<Gpa> {
        if !(2..=TABLE).contains(&chain.count) {
            return None;
        }
        let start = u64::from(number) * TABLE_LEN;
        let table = self.memory.sub(start, TABLE_LEN).ok()?;
        for (index, piece) in (0..).zip(chain.pieces()) {
            table.write(u64::from(index) * size_of::<D>() as u64, descriptor(index, piece)).ok()?;
        }
        self.gpa.checked_add(start)
    }
}
