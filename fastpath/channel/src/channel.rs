//! The memory of a channel, as both sides see it.

use crate::positions::Positions;
use crate::{ChannelError, Fault, ReadError};
use core::mem::offset_of;
use sluice_abi::channel::{
    ALIGN, Header, Kind, MAGIC, MAX_CAPACITY, MIN_CAPACITY, POSITIONS, RING, Record, VERSION, max_len, memory_len, word,
};
use sluice_memory::speculation::within;
use sluice_memory::{PeerSlice, Table};

/// Positions are below this number: a writer does not get there in a hundred years.
const END: u64 = 1 << 62;

/// Makes an empty channel of `memory`, of which all bytes are 0, and which nobody else has yet.
///
/// # Errors
/// [`ChannelError::Capacity`], [`ChannelError::Short`].
pub fn format(memory: PeerSlice<'_>, kind: Kind, capacity: u64) -> Result<(), ChannelError> {
    check_len(memory, capacity)?;
    let short = |_| ChannelError::Short { len: memory.len(), needed: memory_len(capacity) };
    let header = Header { magic: 0, version: VERSION, kind: kind.0, capacity, reserved: [0; 5] };
    memory.write(0, header).map_err(short)?;
    memory.write(offset_of!(Header, magic) as u64, MAGIC).map_err(short)
}

fn check_len(memory: PeerSlice<'_>, capacity: u64) -> Result<(), ChannelError> {
    if !capacity.is_power_of_two() || !(MIN_CAPACITY..=MAX_CAPACITY).contains(&capacity) {
        return Err(ChannelError::Capacity(capacity));
    }
    let (len, needed) = (memory.len(), memory_len(capacity));
    if len < needed { Err(ChannelError::Short { len, needed }) } else { Ok(()) }
}

/// A channel that was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Channel<'m> {
    pub positions: Positions<Table<'m, u64>>,
    /// As long as the capacity.
    pub ring: PeerSlice<'m>,
}

impl<'m> Channel<'m> {
    /// Opens the channel in `memory`, whose header is read once.
    pub fn open(memory: PeerSlice<'m>, wanted: Kind) -> Result<Self, ChannelError> {
        let short = |_| ChannelError::Short { len: memory.len(), needed: memory_len(MIN_CAPACITY) };
        let header: Header = memory.read(0).map_err(short)?;
        if header.magic != MAGIC {
            return Err(ChannelError::Magic(header.magic));
        }
        if header.version != VERSION {
            return Err(ChannelError::Version(header.version));
        }
        if header.kind != wanted.0 {
            return Err(ChannelError::Kind { found: header.kind, wanted });
        }
        check_len(memory, header.capacity)?;
        let words = memory.table(POSITIONS, word::COUNT).ok_or(ChannelError::Alignment)?;
        let ring = memory.sub(RING, header.capacity).map_err(short)?;
        Ok(Self { positions: Positions(words), ring })
    }

    /// Returns the length of the ring in bytes, a power of two.
    #[inline(always)]
    pub const fn capacity(&self) -> u64 {
        self.ring.len()
    }

    /// Returns the offset in the ring of position `at`.
    #[inline(always)]
    pub const fn offset(&self, at: u64) -> u64 {
        at & (self.capacity() - 1)
    }

    /// Returns the number of the record at `at`.
    #[inline(always)]
    fn number(&self, at: u64) -> u64 {
        const AT: u64 = offset_of!(Record, number) as u64;
        // The offset is a multiple of ALIGN in a ring that is one, too.
        self.ring.read_own(self.offset(at) + AT).unwrap_or(0)
    }

    /// Returns the record at `at`, a multiple of [`ALIGN`], if it ends at `end` or before, and may be there. Each of
    /// its words is read once. No length that comes of it is beyond the ring, even while the processor speculates.
    #[inline(always)]
    pub fn record(&self, at: u64, end: u64) -> Result<Record, Fault> {
        let offset = self.offset(at);
        let word: u64 = self.ring.read_own(offset).unwrap_or(0);
        let (len, kind) = (word as u32, (word >> 32) as u32);
        let record = Record { len, kind, number: self.number(at) };
        let rest = self.capacity() - offset;
        let fits = match kind {
            Record::DATA => record.size() <= rest && u64::from(len) <= max_len(self.capacity()),
            Record::PADDING => record.size() == rest,
            _ => false,
        };
        let len = within(len.into(), self.capacity()).filter(|_| fits && record.size() <= end.wrapping_sub(at));
        len.map(|len| Record { len: len as u32, ..record }).ok_or(Fault::Record { at, kind, len: word as u32 })
    }

    /// Returns position and number of the oldest record; `None` if it was given up meanwhile.
    pub fn oldest(&self) -> Result<Option<(u64, u64)>, Fault> {
        let oldest = self.positions.oldest();
        let published = self.positions.published();
        let (at, number) = (oldest, self.number(oldest & !(ALIGN - 1)));
        if !self.positions.is_whole(oldest) {
            return Ok(None);
        }
        let whole = published.wrapping_sub(oldest);
        let is_new = published == 0 && oldest == 0;
        let is_right = whole > 0 && whole <= self.capacity() && published < END;
        let is_aligned = oldest.is_multiple_of(ALIGN) && published.is_multiple_of(ALIGN);
        match (is_new, is_right && is_aligned) {
            (true, _) => Ok(Some((0, 0))),
            (_, true) => Ok(Some((oldest, number))),
            _ => Err(Fault::Positions { at, oldest, published }),
        }
    }

    /// Returns up to where a reader at `at` may read, who knows of the writer with number `known`. Where another one
    /// began, it becomes the one that is known.
    ///
    /// # Errors
    /// [`ReadError::NewWriter`], unless it is the first one; [`ReadError::Fault`], also of a reader that is overrun.
    #[inline(always)]
    pub fn end(&self, at: u64, known: &mut u64) -> Result<u64, ReadError> {
        let published = self.positions.published();
        if published.wrapping_sub(at) > self.capacity() {
            return Err(Fault::Positions { at, oldest: self.positions.oldest(), published }.into());
        }
        if self.positions.generation() == *known { Ok(published) } else { self.end_of_writer(at, published, known) }
    }

    #[cold]
    fn end_of_writer(&self, at: u64, published: u64, known: &mut u64) -> Result<u64, ReadError> {
        let (generation, began) = self.positions.newest();
        if at < began {
            return Ok(published.min(began));
        }
        *known = generation;
        if generation == 1 { Ok(published) } else { Err(ReadError::NewWriter { generation }) }
    }
}

#[cfg(test)]
mod tests;
