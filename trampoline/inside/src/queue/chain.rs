//! A chain of descriptors, of either format, followed to its end. Each descriptor is read once, and their number is bounded (rule G10).

use super::packed::Position;
use crate::Regions;
use sluice_abi::Gpa;
use sluice_abi::call::Clause;
use sluice_abi::packed::{self, DescF};
use sluice_abi::virtq::Desc;
use sluice_memory::{PeerSlice, Table};

/// Most descriptors that are followed for one frame. Linux uses at most 19 a chain, and 64 of 1,526 bytes hold the longest frame.
pub(super) const MAX_CHAIN: u16 = 64;

/// One descriptor, whatever its format.
pub(super) struct Piece {
    pub at: Gpa,
    pub len: u32,
    /// The device may write it, and not read it.
    pub writable: bool,
    /// It is in an indirect table of a packed ring.
    pub in_packed_table: bool,
}

impl Piece {
    /// Its bytes.
    pub fn memory(&self, regions: &Regions) -> Result<PeerSlice<'static>, Clause> {
        regions.find(self.at, self.len.into()).map_err(|_| Clause::Region)
    }
}

/// A chain, from its head on.
pub(super) struct Chain {
    next: Next,
    /// Indirect tables are negotiated.
    indirect: bool,
    /// Descriptors that may still follow.
    left: u16,
    /// What the driver calls it: split, the head; packed, the id of the last descriptor of the ring that was followed.
    id: u16,
    /// Slots of a packed ring that were followed.
    slots: u16,
}

/// Where the next descriptor is.
enum Next {
    Split(Table<'static, Desc>, u16),
    SplitIndirect(Table<'static, Desc>, u16),
    Packed(Table<'static, packed::Desc>, Position),
    PackedIndirect(Table<'static, packed::Desc>, u16),
    End,
}

impl Chain {
    pub fn split(table: Table<'static, Desc>, head: u16, indirect: bool) -> Self {
        let left = MAX_CHAIN.min(table.size());
        Self { next: Next::Split(table, head), indirect, left, id: head, slots: 0 }
    }

    pub fn packed(ring: Table<'static, packed::Desc>, start: Position, indirect: bool) -> Self {
        let left = MAX_CHAIN.min(ring.size());
        Self { next: Next::Packed(ring, start), indirect, left, id: 0, slots: 0 }
    }

    pub fn id(&self) -> u16 {
        self.id
    }

    pub fn slots(&self) -> u16 {
        self.slots
    }

    /// Descriptors that were not followed of those that may be.
    pub fn left(&self) -> u16 {
        self.left
    }

    /// Follows at most `left` descriptors.
    pub fn limit(&mut self, left: u16) {
        self.left = self.left.min(left);
    }

    /// The next descriptor; `None` behind the last.
    pub fn next(&mut self, regions: &Regions) -> Result<Option<Piece>, Clause> {
        loop {
            if matches!(self.next, Next::End) {
                return Ok(None);
            }
            self.left = self.left.checked_sub(1).ok_or(Clause::ChainLength)?;
            let step = match self.next {
                Next::Split(table, index) => self.split_step(regions, table, index)?,
                Next::SplitIndirect(table, index) => Some(self.split_indirect_step(table, index)?),
                Next::Packed(ring, at) => self.packed_step(regions, ring, at)?,
                Next::PackedIndirect(table, index) => Some(self.packed_indirect_step(table, index)?),
                Next::End => None,
            };
            // An indirect descriptor is none itself.
            if let Some(piece) = step {
                return Ok(Some(piece));
            }
        }
    }

    /// Follows what is left of the ring's descriptors: only then it is known how many slots the chain has.
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

    /// See: VIRTIO 2.7.5 "The Virtqueue Descriptor Table".
    fn split_step(
        &mut self,
        regions: &Regions,
        table: Table<'static, Desc>,
        index: u16,
    ) -> Result<Option<Piece>, Clause> {
        let desc = table.get(index).ok_or(Clause::DescIndex)?;
        let flags = DescF::from_bits_retain(desc.flags);
        if flags.contains(DescF::INDIRECT) {
            let memory = self.indirect_table(regions, desc.addr, desc.len, flags)?;
            self.next = Next::SplitIndirect(memory.table(0, entries(desc.len)).ok_or(Clause::Indirect)?, 0);
            return Ok(None);
        }
        self.go_on(flags, Next::Split(table, desc.next));
        Ok(Some(piece(desc.addr, desc.len, flags)))
    }

    /// See: VIRTIO 2.7.5.3 "Indirect Descriptors".
    fn split_indirect_step(&mut self, table: Table<'static, Desc>, index: u16) -> Result<Piece, Clause> {
        let desc = table.get(index).ok_or(Clause::DescIndex)?;
        let flags = DescF::from_bits_retain(desc.flags);
        if flags.contains(DescF::INDIRECT) {
            return Err(Clause::Indirect);
        }
        self.go_on(flags, Next::SplitIndirect(table, desc.next));
        Ok(piece(desc.addr, desc.len, flags))
    }

    /// See: VIRTIO 2.8.5 "Scatter-Gather Support".
    fn packed_step(
        &mut self,
        regions: &Regions,
        ring: Table<'static, packed::Desc>,
        at: Position,
    ) -> Result<Option<Piece>, Clause> {
        let (len, flags) = self.take_slot(ring, at)?;
        let addr = ring.addr(at.slot).ok_or(Clause::DescIndex)?;
        if flags.contains(DescF::INDIRECT) {
            let memory = self.indirect_table(regions, addr, len, flags)?;
            self.next = Next::PackedIndirect(memory.table(0, entries(len)).ok_or(Clause::Indirect)?, 0);
            return Ok(None);
        }
        self.go_on(flags, Next::Packed(ring, at.advance(1, ring.size())));
        Ok(Some(piece(addr, len, flags)))
    }

    /// Length and flags of the descriptor at `at`, which is one slot more of this chain.
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

    /// See: VIRTIO 2.8.7 "Indirect Flag: Scatter-Gather Support".
    fn packed_indirect_step(&mut self, table: Table<'static, packed::Desc>, index: u16) -> Result<Piece, Clause> {
        let desc = table.get(index).ok_or(Clause::DescIndex)?;
        let flags = DescF::from_bits_retain(desc.flags);
        if flags.contains(DescF::INDIRECT) {
            return Err(Clause::Indirect);
        }
        let more = index + 1 < table.size();
        self.next = if more { Next::PackedIndirect(table, index + 1) } else { Next::End };
        Ok(Piece { in_packed_table: true, ..piece(desc.addr, desc.len, flags) })
    }

    /// The bytes of an indirect table, if there may be one here, of that length.
    fn indirect_table(&self, regions: &Regions, at: Gpa, len: u32, flags: DescF) -> Result<PeerSlice<'static>, Clause> {
        if !self.indirect {
            return Err(Clause::NotNegotiated);
        }
        if flags.contains(DescF::NEXT) || len == 0 || !len.is_multiple_of(size_of::<Desc>() as u32) {
            return Err(Clause::Indirect);
        }
        if len / size_of::<Desc>() as u32 > u32::from(MAX_CHAIN) {
            return Err(Clause::ChainLength);
        }
        regions.find(at, len.into()).map_err(|_| Clause::Region)
    }
}

/// Descriptors of an indirect table of `len` bytes, which [`Chain::indirect_table`] has bounded.
const fn entries(len: u32) -> u16 {
    (len / size_of::<Desc>() as u32) as u16
}

const _: () = assert!(size_of::<Desc>() == size_of::<packed::Desc>());

fn piece(at: Gpa, len: u32, flags: DescF) -> Piece {
    Piece { at, len, writable: flags.contains(DescF::WRITE), in_packed_table: false }
}
