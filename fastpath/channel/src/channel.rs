//! The memory of a channel, as both sides see it.

use crate::positions::Positions;
use crate::{ChannelError, Fault, ReadError};
use core::mem::offset_of;
use core::sync::atomic::Ordering::Relaxed;
use sluice_abi::channel::{
    ALIGN, Header, Kind, MAGIC, MAX_CAPACITY, MIN_CAPACITY, POSITIONS, RING, Record, VERSION, max_len, memory_len, word,
};
use sluice_memory::speculation::within;
use sluice_memory::{CacheLine, PeerSlice, Table};

/// Positions are below this number: a writer does not get there in a hundred years.
pub(crate) const END: u64 = 1 << 62;
/// Bytes of a cache line, and of a word.
const LINE: usize = size_of::<CacheLine>();
const WORD: usize = size_of::<u64>();

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
    /// As long as the capacity, and its cache lines.
    pub ring: PeerSlice<'m>,
    lines: &'m [CacheLine],
}

/// What the first word of a record said that was there last, and how much of the ring the record takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last {
    word: u64,
    pub size: u64,
}

impl Last {
    /// Returns the length of the record's bytes.
    #[inline(always)]
    pub const fn len(self) -> u32 {
        self.word as u32
    }
}

impl Default for Last {
    /// Returns a record without bytes.
    fn default() -> Self {
        let record = Record { len: 0, kind: Record::DATA, number: 0 };
        Self { word: record.word(), size: record.size() }
    }
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
        let lines = ring.lines().ok_or(ChannelError::Alignment)?;
        Ok(Self { positions: Positions(words), ring, lines })
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

    /// Returns the word at `offset` of the ring, a multiple of 8, read once; 0 behind the end.
    #[inline(always)]
    fn load(&self, offset: u64) -> u64 {
        let place = self.lines.get(offset as usize / LINE).map(|line| &line.words()[offset as usize % LINE / WORD]);
        place.map_or(0, |word| word.load(Relaxed))
    }

    /// Writes what stands before a record at `at`.
    #[inline(always)]
    pub fn put(&self, at: u64, record: Record) {
        let offset = self.offset(at) as usize;
        if let Some(line) = self.lines.get(offset / LINE) {
            let (words, first) = (line.words(), offset % LINE / WORD);
            words[first].store(record.word(), Relaxed);
            words[first | 1].store(record.number, Relaxed);
        }
    }

    /// Returns whether the record at `at` begins like the `last` one, and has the number that `is_right` wants. Then
    /// the processor looks at the next record before it has read this one's length. Whether the ring, and what is
    /// published, have room for it, is not checked.
    #[inline(always)]
    pub fn is_like(&self, last: Last, at: u64, is_right: impl FnOnce(u64) -> bool) -> bool {
        let offset = self.offset(at) as usize;
        self.lines.get(offset / LINE).is_some_and(|line| {
            let (words, first) = (line.words(), offset % LINE / WORD);
            words[first].load(Relaxed) == last.word && is_right(words[first | 1].load(Relaxed))
        })
    }

    /// Returns the record at `at`, a multiple of [`ALIGN`], if it ends at `end` or before, and may be there. Each of
    /// its words is read once. No length that comes of it is beyond the ring, even while the processor speculates.
    #[inline(never)]
    pub fn record(&self, at: u64, end: u64) -> Result<(Record, Last), Fault> {
        let (offset, room) = (self.offset(at), end.wrapping_sub(at));
        let (word, number) = (self.load(offset), self.load(offset + WORD as u64));
        let (kind, len) = ((word >> 32) as u32, word as u32);
        let fault = Fault::Record { at, kind, len };
        let len = within(len.into(), self.capacity()).ok_or(fault)? as u32;
        let record = Record { len, kind, number };
        let rest = self.capacity() - offset;
        let fits = match kind {
            Record::DATA => record.size() <= rest && u64::from(len) <= max_len(self.capacity()),
            Record::PADDING => record.size() == rest,
            _ => false,
        };
        let last = Last { word: record.word(), size: record.size() };
        if fits && record.size() <= room { Ok((record, last)) } else { Err(fault) }
    }

    /// Returns position and number of the oldest record; `None` if it was given up meanwhile.
    pub fn oldest(&self) -> Result<Option<(u64, u64)>, Fault> {
        let oldest = self.positions.oldest();
        let published = self.positions.published();
        let at = oldest;
        let number = self.load(self.offset(oldest & !(ALIGN - 1)) + WORD as u64);
        if !self.positions.is_whole(oldest) {
            return Ok(None);
        }
        let is_new = published == 0 && oldest == 0;
        let is_right = oldest < published && published - oldest <= self.capacity() && published < END;
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
        if published < at || published - at > self.capacity() {
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
