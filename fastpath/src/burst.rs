//! A burst: frames that belong to the caller, in order.

use crate::{BUFFER_LEN, HEADROOM, Mempool};
use core::fmt;
use sluice_abi::call::{Accepted, MAX_BURST, Packet};
use sluice_memory::PeerSlice;

/// Frames in a burst, if nothing speaks for another number.
pub const BURST_SIZE: usize = 32;

/// Up to [`MAX_BURST`] frames. A port takes frames from its front; what it does not take stays, in order. Frames that are still
/// here when the burst is dropped go back to their pool.
pub struct Burst<'p> {
    pool: &'p Mempool<'p>,
    /// The first `len` are frames of the caller's.
    packets: [Packet; MAX_BURST],
    len: usize,
    /// Bytes of all of them.
    bytes: u64,
    /// The peer that all of them name; `None` if they may differ.
    peer: Option<u16>,
}

impl<'p> Burst<'p> {
    pub(crate) fn new(pool: &'p Mempool<'p>) -> Self {
        Self { pool, packets: [Packet { offset: 0, len: 0, peer: 0 }; MAX_BURST], len: 0, bytes: 0, peer: Some(0) }
    }

    /// Number of frames.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Frames that it still has room for.
    pub const fn room(&self) -> usize {
        MAX_BURST - self.len
    }

    /// Adds a new frame of `len` bytes and returns it for filling; `None` if the burst is full, the pool is empty, or a buffer has
    /// no room for `len` bytes. The bytes are what they were.
    pub fn push(&mut self, len: u16) -> Option<PeerSlice<'_>> {
        if u32::from(len) > BUFFER_LEN - HEADROOM || self.len == MAX_BURST {
            return None;
        }
        let offset = self.pool.take()?;
        self.put(Packet { offset, len, peer: 0 });
        Some(self.pool.slice(offset, u32::from(len)))
    }

    /// The frame at `index`.
    pub fn frame(&self, index: usize) -> Option<PeerSlice<'_>> {
        let packet = self.packets().get(index)?;
        Some(self.pool.slice(packet.offset, u32::from(packet.len)))
    }

    /// All frames, in order.
    pub fn frames(&self) -> impl Iterator<Item = PeerSlice<'_>> {
        self.packets().iter().map(|packet| self.pool.slice(packet.offset, u32::from(packet.len)))
    }

    /// Names the peer that the frame at `index` is for: its place in the directory. Only a scatter burst looks at it.
    pub fn set_peer(&mut self, index: usize, peer: u16) {
        if let Some(packet) = self.packets[..self.len].get_mut(index) {
            packet.peer = peer;
            self.peer = None;
        }
    }

    /// Gives the first `count` frames, or all if there are fewer, back to the pool.
    pub fn drop_front(&mut self, count: usize) {
        let count = count.min(self.len);
        self.pool.give_back_all(&self.packets[..count]);
        self.packets.copy_within(count..self.len, 0);
        self.len -= count;
        self.count_bytes();
    }

    /// Gives all frames back to the pool.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.pool.give_back_all(&self.packets[..self.len]);
        (self.len, self.bytes) = (0, 0);
    }

    /// Bytes of all frames.
    #[inline(always)]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The frames, all addressed to `peer`. A burst that goes the same way again and again is addressed already.
    #[inline(always)]
    pub(crate) fn packets_to(&mut self, peer: u16) -> &[Packet] {
        if self.peer != Some(peer) {
            self.address(peer);
        }
        self.packets()
    }

    #[cold]
    fn address(&mut self, peer: u16) {
        self.packets[..self.len].iter_mut().for_each(|packet| packet.peer = peer);
        self.peer = Some(peer);
    }

    fn count_bytes(&mut self) {
        self.bytes = self.packets().iter().map(|packet| u64::from(packet.len)).sum();
    }

    #[inline(always)]
    pub(crate) fn packets(&self) -> &[Packet] {
        &self.packets[..self.len]
    }

    pub(crate) fn pool(&self) -> &'p Mempool<'p> {
        self.pool
    }

    /// Adds a frame that the caller of this made sure there is room for.
    #[inline]
    pub(crate) fn put(&mut self, packet: Packet) {
        if let Some(slot) = self.packets.get_mut(self.len) {
            *slot = Packet { peer: self.peer.unwrap_or(0), ..packet };
            self.len += 1;
            self.bytes += u64::from(packet.len);
        }
    }

    /// Gives back what was accepted; the rest stays, in order. Returns how many were accepted.
    #[cold]
    pub(crate) fn settle(&mut self, accepted: &Accepted) -> usize {
        let mut kept = 0;
        for index in 0..self.len {
            let packet = self.packets[index];
            if accepted.contains(index) {
                self.pool.give_back(packet.offset);
            } else {
                self.packets[kept] = packet;
                kept += 1;
            }
        }
        let sent = core::mem::replace(&mut self.len, kept) - kept;
        self.count_bytes();
        sent
    }
}

impl Drop for Burst<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl fmt::Debug for Burst<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.packets()).finish()
    }
}
