//! The sender's own packet memory. See: `sluice_abi::run`.

use sluice_abi::run::MAX_RUNS;
use sluice_memory::PeerSlice;

/// A range of packet memory without a gap: one run, or several that follow one another there and in the mapping.
#[derive(Clone, Copy)]
struct Range {
    offset: u64,
    memory: PeerSlice<'static>,
}

/// All packet memory of one sender.
pub(crate) struct Runs {
    /// The range that begins at offset 0.
    extent: Option<PeerSlice<'static>>,
    others: [Option<Range>; MAX_RUNS],
}

impl Runs {
    /// Returns no packet memory.
    pub const fn new() -> Self {
        Self { extent: None, others: [None; MAX_RUNS] }
    }

    /// Returns the range that begins at offset 0, where packets are looked for first.
    pub const fn extent(&self) -> Option<PeerSlice<'static>> {
        self.extent
    }

    /// Returns whether there is no packet memory at all.
    pub fn is_empty(&self) -> bool {
        self.extent.is_none() && self.others.iter().all(Option::is_none)
    }

    /// Adds `memory` at `offset`. Returns `false` if there are [`MAX_RUNS`] others already, or another one at offset 0.
    pub fn add(&mut self, offset: u32, memory: PeerSlice<'static>) -> bool {
        if offset == 0 {
            let first = self.extent.is_none();
            self.extent.get_or_insert(memory);
            return first;
        }
        let free = self.others.iter_mut().find(|other| other.is_none());
        free.map(|free| *free = Some(Range { offset: offset.into(), memory })).is_some()
    }

    /// Returns the `len` bytes at `offset`, if one range holds all of them. While the processor speculates, these are
    /// at the start of one of the ranges.
    #[inline(always)]
    pub fn find(&self, offset: u64, len: u64) -> Option<PeerSlice<'static>> {
        match self.extent.map(|extent| extent.sub(offset, len)) {
            Some(Ok(found)) => Some(found),
            _ => self.find_in_others(offset, len),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_in_others(&self, offset: u64, len: u64) -> Option<PeerSlice<'static>> {
        self.others.iter().flatten().find_map(|range| range.memory.sub(offset.wrapping_sub(range.offset), len).ok())
    }
}
