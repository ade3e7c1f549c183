//! A chain of descriptors of either format, followed to its end. Each descriptor is read once, and their number is
//! bounded (rule G10).

use super::position::Position;
use crate::Regions;
use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::packed::{self, DescF};
use sluice_abi::virtq::{Desc, max_chain};
use sluice_memory::{PeerSlice, Plain, Table};

/// One descriptor, whatever its format.
pub(super) struct Piece {
    pub at: Gpa,
    pub len: u32,
    /// The device may write the piece, and not read it.
    pub writable: bool,
    /// The descriptor is in an indirect table of a packed ring.
    pub in_packed_table: bool,
}

impl Piece {
    /// Returns the bytes of the piece.
    pub fn memory(&self, regions: &Regions) -> Result<PeerSlice<'static>, Clause> {
        regions.find(self.at, self.len.into()).map_err(|_| Clause::Region)
    }
}

/// A chain, from its head on.
pub(super) struct Chain {
    next: Next,
    /// The driver may use indirect tables.
    indirect: bool,
    /// Descriptors that may still follow. A descriptor that refers to an indirect table does not count.
    left: u16,
    /// What the driver calls the chain. In a split ring this is the head, in a packed ring the id of the last
    /// descriptor of the ring that was followed.
    id: u16,
    /// Descriptors of the ring that were followed. In a packed ring these are slots.
    slots: u16,
}

/// Where the next descriptor is.
enum Next {
    Split(Table<'static, Desc>, u16),
    SplitIndirect(PeerSlice<'static>, u16),
    Packed(Table<'static, packed::Desc>, Position),
    PackedIndirect(PeerSlice<'static>, u16),
    End,
}

impl Chain {
    pub fn split(table: Table<'static, Desc>, head: u16, indirect: bool) -> Self {
        Self { next: Next::Split(table, head), indirect, left: max_chain(table.size()), id: head, slots: 0 }
    }

    pub fn packed(ring: Table<'static, packed::Desc>, start: Position, indirect: bool) -> Self {
        Self { next: Next::Packed(ring, start), indirect, left: max_chain(ring.size()), id: 0, slots: 0 }
    }

    pub fn id(&self) -> u16 {
        self.id
    }

    pub fn slots(&self) -> u16 {
        self.slots
    }

    /// Returns the next descriptor, or `None` behind the last.
    pub fn next(&mut self, regions: &Regions) -> Result<Option<Piece>, Clause> {
        loop {
            if matches!(self.next, Next::End) {
                return Ok(None);
            }
            let left = self.left.checked_sub(1).ok_or(Clause::ChainLength)?;
            let step = match self.next {
                Next::Split(table, index) => self.split_step(regions, table, index)?,
                Next::SplitIndirect(table, index) => Some(self.split_indirect_step(table, index)?),
                Next::Packed(ring, at) => self.packed_step(regions, ring, at)?,
                Next::PackedIndirect(table, index) => Some(self.packed_indirect_step(table, index)?),
                Next::End => None,
            };
            // Once at most there is none: a table is behind it, and in a table is no other.
            if let Some(piece) = step {
                self.left = left;
                return Ok(Some(piece));
            }
        }
    }

    /// Follows what is left of the ring's descriptors: only then the number of the chain's slots is known.
    pub fn finish(&mut self) -> Result<(), Clause> {
        while let Next::Packed(ring, at) = self.next {
            self.left = self.left.checked_sub(1).ok_or(Clause::ChainLength)?;
            let (_, flags) = self.take_slot(ring, at)?;
            self.go_on(flags, Next::Packed(ring, at.advance(1, ring.size())));
        }
        Ok(())
    }

    fn go_on(&mut self, flags: DescF, next: Next) {
        self.next = if flags.contains(DescF::NEXT) { next } else { Next::End };
    }

    /// Follows a descriptor of a split ring. See: VIRTIO 2.7.5 "The Virtqueue Descriptor Table".
    fn split_step(
        &mut self,
        regions: &Regions,
        table: Table<'static, Desc>,
        index: u16,
    ) -> Result<Option<Piece>, Clause> {
        let desc = table.get(index).ok_or(Clause::DescIndex)?;
        let flags = DescF::from_bits_retain(desc.flags);
        self.slots += 1;
        if flags.contains(DescF::INDIRECT) {
            self.next = Next::SplitIndirect(self.indirect_table(regions, desc.addr, desc.len, flags)?, 0);
            return Ok(None);
        }
        self.go_on(flags, Next::Split(table, desc.next));
        Ok(Some(piece(desc.addr, desc.len, flags)))
    }

    /// Follows a descriptor of an indirect table of a split ring. See: VIRTIO 2.7.5.3 "Indirect Descriptors".
    fn split_indirect_step(&mut self, table: PeerSlice<'static>, index: u16) -> Result<Piece, Clause> {
        let desc: Desc = entry(table, index)?;
        let flags = DescF::from_bits_retain(desc.flags);
        if flags.contains(DescF::INDIRECT) {
            return Err(Clause::Indirect);
        }
        self.go_on(flags, Next::SplitIndirect(table, desc.next));
        Ok(piece(desc.addr, desc.len, flags))
    }

    /// Follows a descriptor of a packed ring. See: VIRTIO 2.8.5 "Scatter-Gather Support".
    fn packed_step(
        &mut self,
        regions: &Regions,
        ring: Table<'static, packed::Desc>,
        at: Position,
    ) -> Result<Option<Piece>, Clause> {
        let (len, flags) = self.take_slot(ring, at)?;
        let addr = ring.addr(at.slot).ok_or(Clause::DescIndex)?;
        if flags.contains(DescF::INDIRECT) {
            self.next = Next::PackedIndirect(self.indirect_table(regions, addr, len, flags)?, 0);
            return Ok(None);
        }
        self.go_on(flags, Next::Packed(ring, at.advance(1, ring.size())));
        Ok(Some(piece(addr, len, flags)))
    }

    /// Returns length and flags of the descriptor at `at`, and counts it as one more slot of this chain.
    fn take_slot(&mut self, ring: Table<'static, packed::Desc>, at: Position) -> Result<(u32, DescF), Clause> {
        let word = ring.load_acquire(at.slot).ok_or(Clause::DescIndex)?;
        let flags = DescF::from_bits_retain((word >> 48) as u16);
        if !at.is_available(flags) {
            return Err(Clause::NotAvailable);
        }
        self.id = (word >> 32) as u16;
        self.slots += 1;
        Ok((word as u32, flags))
    }

    /// Follows a descriptor of an indirect table of a packed ring, all of whose entries are the chain's. See: VIRTIO
    /// 2.8.7 "Indirect Flag: Scatter-Gather Support".
    fn packed_indirect_step(&mut self, table: PeerSlice<'static>, index: u16) -> Result<Piece, Clause> {
        if table.len() > u64::from(self.left + index) * DESC_LEN {
            return Err(Clause::ChainLength);
        }
        let desc: packed::Desc = entry(table, index)?;
        let flags = DescF::from_bits_retain(desc.flags);
        if flags.contains(DescF::INDIRECT) {
            return Err(Clause::Indirect);
        }
        let more = u64::from(index + 1) * DESC_LEN < table.len();
        self.next = if more { Next::PackedIndirect(table, index + 1) } else { Next::End };
        Ok(Piece { in_packed_table: true, ..piece(desc.addr, desc.len, flags) })
    }

    /// Returns the bytes of an indirect table, if there may be one here. The number of its entries that the chain uses
    /// is not known yet, and their alignment is left to the driver.
    fn indirect_table(&self, regions: &Regions, at: Gpa, len: u32, flags: DescF) -> Result<PeerSlice<'static>, Clause> {
        if !self.indirect {
            return Err(Clause::NotNegotiated);
        }
        if flags.contains(DescF::NEXT) || len == 0 || !u64::from(len).is_multiple_of(DESC_LEN) {
            return Err(Clause::Indirect);
        }
        regions.find(at, len.into()).map_err(|_| Clause::Region)
    }
}

/// Length in bytes of a descriptor of either format.
const DESC_LEN: u64 = size_of::<Desc>() as u64;
const _: () = assert!(size_of::<packed::Desc>() as u64 == DESC_LEN);

/// Returns the entry `index`, which the driver names, of an indirect table, read once.
fn entry<D: Plain>(table: PeerSlice<'static>, index: u16) -> Result<D, Clause> {
    let desc = table.sub(u64::from(index) * DESC_LEN, DESC_LEN).and_then(|desc| desc.read(0));
    desc.map_err(|_| Clause::DescIndex)
}

fn piece(at: Gpa, len: u32, flags: DescF) -> Piece {
    Piece { at, len, writable: flags.contains(DescF::WRITE), in_packed_table: false }
}
