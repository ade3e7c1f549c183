//! A burst: frames that belong to the caller, in order.

use crate::Mempool;
use core::fmt;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Accepted, MAX_BURST, Packet};
use sluice_memory::PeerSlice;

/// Frames in a burst, if nothing speaks for another number.
pub const BURST_SIZE: usize = 32;

/// Up to [`MAX_BURST`] frames. A port takes frames from its front; what it does not take stays, in order.
///
/// Buffers of frames that are gone stay with the burst, for the next ones: they are still in the cache. [`Burst::release`] gives them
/// back to the pool, and so does dropping the burst, with all that is in it.
pub struct Burst<'p> {
    pool: &'p Mempool<'p>,
    /// The first `len` are frames of the caller's; up to `owned`, `offset` is anywhere in a spare buffer.
    packets: [Packet; MAX_BURST],
    len: usize,
    owned: usize,
    /// Bytes of all of them.
    bytes: u64,
    /// The peer that all of them name; `None` if they may differ.
    peer: Option<PeerIdx>,
}

impl<'p> Burst<'p> {
    pub(crate) fn new(pool: &'p Mempool<'p>) -> Self {
        let packets = [Packet::new(0, 0, PeerIdx(0)); MAX_BURST];
        Self { pool, packets, len: 0, owned: 0, bytes: 0, peer: Some(PeerIdx(0)) }
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

    /// Adds a new frame of `len` bytes and returns it for filling; `None` if the burst is full, the pool is empty, a buffer has no room
    /// for `len` bytes, or they are none: there is no empty frame. The bytes are what they were.
    pub fn push(&mut self, len: u16) -> Option<PeerSlice<'_>> {
        if len == 0 || u32::from(len) > Mempool::LONGEST || self.len == MAX_BURST {
            return None;
        }
        let offset = if self.len < self.owned {
            Mempool::frame_start(self.packets[self.len].offset)
        } else {
            let offset = self.pool.take()?;
            self.owned += 1;
            offset
        };
        self.add(Packet::new(offset, len, PeerIdx(0)));
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

    /// Names the peer that the frame at `index` is for. Only [`crate::Scatter`] looks at this name. A frame for nobody is refused.
    pub fn set_peer(&mut self, index: usize, peer: PeerIdx) {
        if let Some(packet) = self.packets[..self.len].get_mut(index) {
            packet.peer = peer;
            self.peer = None;
        }
    }

    /// Drops the frame at `index`; the others stay, in order. `false`: there is none.
    pub fn remove(&mut self, index: usize) -> bool {
        let Some(tail) = self.packets[..self.len].get_mut(index..).filter(|tail| !tail.is_empty()) else {
            return false;
        };
        self.bytes -= u64::from(tail[0].len);
        tail.rotate_left(1);
        self.len -= 1;
        true
    }

    /// Drops the first `count` frames, or all if there are fewer.
    pub fn drop_front(&mut self, count: usize) {
        let count = count.min(self.len);
        self.packets[..self.len].rotate_left(count);
        self.len -= count;
        self.count_bytes();
    }

    /// Drops all frames.
    #[inline(always)]
    pub fn clear(&mut self) {
        (self.len, self.bytes) = (0, 0);
    }

    /// Gives the buffers of frames that are gone back to the pool.
    pub fn release(&mut self) {
        let spares = self.packets.get(self.len..self.owned).unwrap_or_default();
        spares.iter().for_each(|spare| self.pool.give_back(spare.offset));
        self.owned = self.len;
    }

    /// Bytes of all frames.
    #[inline(always)]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The frames, all addressed to `peer`. A burst that goes the same way again and again is addressed already.
    #[inline(always)]
    pub(crate) fn packets_to(&mut self, peer: PeerIdx) -> &[Packet] {
        if self.peer != Some(peer) {
            self.address(peer);
        }
        self.packets()
    }

    #[cold]
    fn address(&mut self, peer: PeerIdx) {
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

    /// Adds a frame in a buffer of the pool's that the caller owns, where there is room; a spare buffer goes back for it.
    #[inline]
    pub(crate) fn put(&mut self, packet: Packet) {
        if self.len < self.owned {
            self.pool.give_back(self.packets[self.len].offset);
        } else {
            self.owned += 1;
        }
        self.add(packet);
    }

    #[inline(always)]
    fn add(&mut self, packet: Packet) {
        if let Some(slot) = self.packets.get_mut(self.len) {
            *slot = Packet { peer: self.peer.unwrap_or_default(), ..packet };
            self.len += 1;
            self.bytes += u64::from(packet.len);
        }
    }

    /// Drops what was accepted; the rest stays, in order. Returns how many were accepted.
    #[cold]
    pub(crate) fn settle(&mut self, accepted: &Accepted) -> usize {
        let mut kept = 0;
        for index in 0..self.len {
            if !accepted.contains(index) {
                self.packets.swap(kept, index);
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
        self.release();
    }
}

impl fmt::Debug for Burst<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.packets()).finish()
    }
}
