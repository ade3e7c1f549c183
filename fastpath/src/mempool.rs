//! Buffers of one size, in packet memory.
//!
//! The list of free buffers is private memory: no peer can reach it, whatever it does to the buffers.

use crate::{Burst, PacketMemory};
use core::cell::Cell;
use core::fmt;
use sluice_abi::net::{HDR_LEN, Hdr};
use sluice_memory::PeerSlice;
use zerocopy::IntoBytes;

/// Number of bytes before a received or new frame. The last 12 are kept for the virtio-net header, so a frame can grow
/// by 116 bytes at its front: outer Ethernet, IPv4, UDP, VXLAN-GPE and NSH with MD type 1 take 74. The frame starts on
/// a cache line.
pub const HEADROOM: u32 = 128;

/// Length of each buffer of a pool: [`HEADROOM`] and the longest frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum BufferLen {
    /// 2 KiB: frames of 1,500 bytes of payload with two VLAN tags, and longer ones up to 1,920 bytes.
    #[default]
    KiB2 = 2 << 10,
    /// 4 KiB.
    KiB4 = 4 << 10,
    /// 8 KiB.
    KiB8 = 8 << 10,
    /// 16 KiB: jumbo frames.
    KiB16 = 16 << 10,
    /// 32 KiB.
    KiB32 = 32 << 10,
    /// 64 KiB: frames that are still to be segmented.
    KiB64 = 64 << 10,
}

impl BufferLen {
    /// All lengths, the shortest first.
    pub const ALL: [Self; 6] = [Self::KiB2, Self::KiB4, Self::KiB8, Self::KiB16, Self::KiB32, Self::KiB64];

    /// Returns the length of a buffer in bytes, a power of two.
    pub const fn bytes(self) -> u32 {
        self as u32
    }

    /// Returns the length in bytes of the longest frame that is received into, or made in, such a buffer.
    pub const fn longest_frame(self) -> u16 {
        (self as u32 - HEADROOM) as u16
    }

    /// Returns the shortest buffer for frames of `len` bytes; `None` if none is long enough.
    pub fn for_frame(len: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|buffer| buffer.longest_frame() >= len)
    }
}

/// Reasons for which a pool can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The memory has no room for one buffer.
    #[error("{len} bytes of packet memory from offset {offset:#x} hold no aligned buffer of {buffer} bytes")]
    Memory {
        /// Length of the memory in bytes.
        len: u64,
        /// Offset of the memory in packet memory, in bytes.
        offset: u32,
        /// Length of a buffer in bytes.
        buffer: u32,
    },
    /// The list of free buffers has no entry.
    #[error("the list of free buffers has no entry")]
    List,
}

/// A pool of buffers for one thread.
pub struct Mempool<'m> {
    memory: PacketMemory,
    buffer_len: BufferLen,
    /// An offset anywhere in each free buffer. The first `count` are valid.
    free: &'m [Cell<u32>],
    count: Cell<usize>,
}

impl<'m> Mempool<'m> {
    /// Returns a pool of buffers of `buffer_len`, as many as `memory` and the list `free` have room for.
    ///
    /// # Errors
    /// [`PoolError`] if there is no room for one buffer.
    pub fn new(memory: PacketMemory, buffer_len: BufferLen, free: &'m mut [u32]) -> Result<Self, PoolError> {
        let (bytes, len) = (buffer_len.bytes(), memory.memory.len());
        let none = PoolError::Memory { len, offset: memory.offset, buffer: bytes };
        let first = memory.offset.checked_next_multiple_of(bytes).ok_or(none)?;
        let fit = len.saturating_sub(u64::from(first - memory.offset)) / u64::from(bytes);
        let count = free.len().min(fit as usize);
        if count == 0 {
            return Err(if free.is_empty() { PoolError::List } else { none });
        }
        let free = Cell::from_mut(&mut free[..count]).as_slice_of_cells();
        for (index, cell) in free.iter().enumerate() {
            cell.set(first + (count - 1 - index) as u32 * bytes);
        }
        Ok(Self { memory, buffer_len, free, count: Cell::new(count) })
    }

    /// Returns the number of free buffers.
    pub fn available(&self) -> usize {
        self.count.get()
    }

    /// Returns the number of buffers, free or not.
    pub fn capacity(&self) -> usize {
        self.free.len()
    }

    /// Returns the length of a buffer in bytes.
    pub const fn buffer_len(&self) -> BufferLen {
        self.buffer_len
    }

    /// Returns the length in bytes of the longest frame that is received into, or made in, one of the buffers.
    #[inline(always)]
    pub const fn longest_frame(&self) -> u16 {
        self.buffer_len.longest_frame()
    }

    /// Returns an empty burst whose buffers come from, and go back to, this pool.
    pub fn burst(&self) -> Burst<'_> {
        Burst::new(self)
    }

    /// Returns whether this is the pool `other`.
    #[inline(always)]
    pub(crate) fn is(&self, other: &Mempool<'_>) -> bool {
        core::ptr::eq(core::ptr::from_ref(self).cast::<u8>(), core::ptr::from_ref(other).cast())
    }

    /// Returns the memory that all buffers lie in.
    pub(crate) fn memory(&self) -> PacketMemory {
        self.memory
    }

    /// Returns the `len` bytes at request offset `offset`.
    #[inline]
    pub(crate) fn slice(&self, offset: u32, len: u32) -> PeerSlice<'_> {
        let at = u64::from(offset.wrapping_sub(self.memory.offset));
        // A buffer of this pool is always inside, so the empty slice is never returned.
        self.memory
            .memory
            .sub(at, u64::from(len))
            .unwrap_or_else(|_| self.memory.memory.sub(0, 0).unwrap_or(self.memory.memory))
    }

    /// Takes a buffer, and returns the request offset at which its frame starts.
    #[inline]
    pub(crate) fn take(&self) -> Option<u32> {
        let count = self.count.get().checked_sub(1)?;
        let offset = self.free.get(count)?.get();
        self.count.set(count);
        Some(self.frame_start(offset))
    }

    /// Returns the start of the buffer that `offset` is in.
    #[inline(always)]
    pub(crate) const fn start_of(&self, offset: u32) -> u32 {
        offset & !(self.buffer_len.bytes() - 1)
    }

    /// Returns the start of a received or new frame in the buffer that `offset` is in.
    #[inline(always)]
    pub(crate) const fn frame_start(&self, offset: u32) -> u32 {
        self.start_of(offset) + HEADROOM
    }

    /// Returns the number of bytes by which a frame that starts at `offset` can grow at its front.
    pub(crate) const fn headroom(&self, offset: u32) -> u32 {
        (offset - self.start_of(offset)).saturating_sub(HDR_LEN)
    }

    /// Returns the number of bytes from `offset` to the end of its buffer.
    pub(crate) const fn room_behind(&self, offset: u32) -> u32 {
        self.buffer_len.bytes() - (offset - self.start_of(offset))
    }

    /// Writes `hdr` before the frame that starts at `offset`. Returns whether there is room, which is always so.
    pub(crate) fn write_header(&self, offset: u32, hdr: &Hdr) -> bool {
        // A peer is not told whether the checksum of a frame was validated before.
        let hdr = Hdr { flags: sluice_abi::net::HdrF::NEEDS_CSUM.bits(), ..*hdr };
        self.slice(offset.wrapping_sub(HDR_LEN), HDR_LEN).copy_from_slice(0, hdr.as_bytes()).is_ok()
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

impl fmt::Debug for Mempool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (buffers, free) = (self.capacity(), self.available());
        f.debug_struct("Mempool")
            .field("buffer_len", &self.buffer_len)
            .field("buffers", &buffers)
            .field("free", &free)
            .finish()
    }
}
