//! Buffers of one size, in packet memory.
//!
//! The list of free buffers is private memory: no peer can reach it, whatever it does to the buffers.

use crate::{Burst, PacketMemory};
use core::cell::Cell;
use sluice_memory::PeerSlice;

/// Bytes of a buffer, a power of two.
pub const BUFFER_LEN: u32 = 2048;
/// Bytes before a frame's first: room for the virtio-net header, and the frame starts on a cache line.
pub const HEADROOM: u32 = 64;

/// A pool of buffers for one thread.
pub struct Mempool<'m> {
    memory: PacketMemory,
    /// Offsets of free buffers, anywhere inside them: the first `count`.
    free: &'m [Cell<u32>],
    count: Cell<usize>,
}

impl<'m> Mempool<'m> {
    /// Bytes of the longest frame that a buffer holds.
    pub const LONGEST: u32 = BUFFER_LEN - HEADROOM;

    /// A pool of as many buffers as `memory` and the list `free` have room for.
    pub fn new(memory: PacketMemory, free: &'m mut [u32]) -> Self {
        let lead = memory.offset.next_multiple_of(BUFFER_LEN) - memory.offset;
        let fit = memory.memory.len().saturating_sub(u64::from(lead)) / u64::from(BUFFER_LEN);
        let count = free.len().min(fit as usize);
        let free = Cell::from_mut(&mut free[..count]).as_slice_of_cells();
        for (index, cell) in free.iter().enumerate() {
            cell.set(memory.offset + lead + (count - 1 - index) as u32 * BUFFER_LEN);
        }
        Self { memory, free, count: Cell::new(count) }
    }

    /// Buffers in the pool now.
    pub fn available(&self) -> usize {
        self.count.get()
    }

    /// Buffers that the pool was made with.
    pub fn capacity(&self) -> usize {
        self.free.len()
    }

    /// An empty burst whose buffers come from, and go back to, this pool.
    pub fn burst(&self) -> Burst<'_> {
        Burst::new(self)
    }

    /// The memory that all buffers lie in.
    pub(crate) fn memory(&self) -> PacketMemory {
        self.memory
    }

    /// The `len` bytes at request offset `offset`.
    #[inline]
    pub(crate) fn slice(&self, offset: u32, len: u32) -> PeerSlice<'_> {
        let at = u64::from(offset.wrapping_sub(self.memory.offset));
        // A buffer of this pool is always inside; the empty slice is for what can't be.
        self.memory
            .memory
            .sub(at, u64::from(len))
            .unwrap_or_else(|_| self.memory.memory.sub(0, 0).unwrap_or(self.memory.memory))
    }

    /// Takes a buffer: the request offset at which its frame starts.
    #[inline]
    pub(crate) fn take(&self) -> Option<u32> {
        let count = self.count.get().checked_sub(1)?;
        let offset = self.free.get(count)?.get();
        self.count.set(count);
        Some(Self::frame_start(offset))
    }

    /// Where the frame starts in the buffer that `offset` is in.
    #[inline(always)]
    pub(crate) const fn frame_start(offset: u32) -> u32 {
        (offset & !(BUFFER_LEN - 1)) + HEADROOM
    }

    /// Gives a buffer back; `offset` may be anywhere in it.
    #[inline]
    pub(crate) fn give_back(&self, offset: u32) {
        let count = self.count.get();
        if let Some(cell) = self.free.get(count) {
            cell.set(offset);
            self.count.set(count + 1);
        }
    }
}
