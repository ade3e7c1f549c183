//! The operations of ports on a burst, and the steps that a burst's own operations are made of.

use super::Burst;
use crate::frame::Note;
use crate::{FrameError, Mempool};
use sluice_abi::PeerIdx;
use sluice_abi::call::{Accepted, MAX_BURST, Packet};

impl<'p> Burst<'p> {
    pub(crate) fn pool(&self) -> &'p Mempool<'p> {
        self.pool
    }

    #[inline(always)]
    pub(crate) fn packets(&self) -> &[Packet] {
        self.packets.get(..self.len).unwrap_or_default()
    }

    /// Returns the first `most` frames, all addressed to `peer`, with their headers before them. A burst that is sent
    /// to one peer again and again is addressed already.
    #[inline(always)]
    pub(crate) fn packets_to(&mut self, peer: PeerIdx, most: usize) -> &[Packet] {
        if self.totals.peer != Some(peer) {
            self.address(peer);
        }
        self.front(most)
    }

    /// Returns the first `most` frames, each addressed to the peer that it names, with their headers before them.
    #[inline(always)]
    pub(crate) fn packets_to_all(&mut self, most: usize) -> &[Packet] {
        if self.totals.headers {
            self.write_headers();
        }
        self.front(most)
    }

    #[inline(always)]
    fn front(&self, most: usize) -> &[Packet] {
        self.packets.get(..self.len.min(most)).unwrap_or_default()
    }

    #[cold]
    fn address(&mut self, peer: PeerIdx) {
        self.packets[..self.len].iter_mut().for_each(|packet| packet.peer = peer);
        self.totals.peer = Some(peer);
        if self.totals.headers {
            self.write_headers();
        }
    }

    /// Returns the first `count` frames with their notes.
    pub(crate) fn first(&self, count: usize) -> impl Iterator<Item = (Packet, &Note)> {
        self.packets().iter().copied().zip(&self.notes).take(count)
    }

    /// Sets the mark of all frames from `index` on.
    pub(crate) fn mark_from(&mut self, index: usize, mark: u32) {
        let notes = self.notes.get_mut(index..self.len).unwrap_or_default();
        notes.iter_mut().for_each(|note| note.mark = mark);
    }

    /// Removes the first `count` frames, whose buffers are the device's from now on. The others stay, in order.
    pub(crate) fn given_away(&mut self, count: usize) {
        if count > 0 {
            self.give_away(0, count);
        }
    }

    /// Puts headers from private memory before their frames. A burst with headers is addressed anew for each call.
    fn write_headers(&mut self) {
        self.totals.headers = false;
        for (packet, note) in self.packets[..self.len].iter_mut().zip(&self.notes) {
            let written = note.needs_header() && self.pool.write_header(packet.offset, &note.hdr);
            packet.flags = if written { packet.with_hdr().flags } else { 0 };
            self.totals.headers |= written;
        }
        if self.totals.headers {
            self.totals.peer = None;
        }
    }

    /// Drops the accepted ones of the first `offered` frames; the others stay, in order. Returns the number of frames
    /// that were accepted.
    #[cold]
    pub(crate) fn settle(&mut self, offered: usize, accepted: &Accepted) -> usize {
        let mut kept = 0;
        for index in 0..self.len {
            if index >= offered || !accepted.contains(index) {
                self.swap(kept, index);
                kept += 1;
            }
        }
        let sent = core::mem::replace(&mut self.len, kept) - kept;
        self.count_bytes();
        sent
    }

    /// Adds a frame in a buffer of this burst's pool that the caller owns, while there is room. A spare buffer goes
    /// back to the pool instead.
    #[inline]
    pub(crate) fn receive(&mut self, packet: Packet, note: Note) {
        self.make_place();
        self.add(packet, note);
    }

    /// Adds a frame of another burst of this pool, as [`Burst::put`] does. The frame keeps the name of its peer.
    pub(super) fn put(&mut self, packet: Packet, note: Note) {
        self.make_place();
        self.add_named(packet, note);
    }

    #[inline(always)]
    fn make_place(&mut self) {
        if self.len < self.owned {
            self.pool.give_back(self.packets[self.len].offset);
        } else {
            self.owned += 1;
        }
    }

    /// Adds a frame in a spare buffer of this burst, for the peer that all other frames are for.
    #[inline(always)]
    pub(super) fn add(&mut self, packet: Packet, note: Note) {
        let peer = self.totals.peer.unwrap_or_default();
        if let (Some(slot), Some(kept)) = (self.packets.get_mut(self.len), self.notes.get_mut(self.len)) {
            (*slot, *kept) = (Packet { peer, ..packet }, note);
            self.len += 1;
            self.totals.bytes += u64::from(packet.len);
        }
        if note.needs_header() {
            self.totals.header();
        }
    }

    /// Adds a frame in a spare buffer of this burst, which names its own peer.
    pub(super) fn add_named(&mut self, packet: Packet, note: Note) {
        if self.totals.peer != Some(packet.peer) {
            self.totals.peer = None;
        }
        let index = self.len;
        self.add(packet, note);
        if let Some(added) = self.packets.get_mut(index) {
            (added.peer, added.flags) = (packet.peer, 0);
        }
    }

    /// Returns the start of a new frame in a buffer that the caller may add: a spare one, or one of the pool.
    pub(super) fn new_buffer(&mut self) -> Result<u32, FrameError> {
        if self.len == MAX_BURST {
            return Err(FrameError::BurstFull);
        }
        if self.len < self.owned {
            return Ok(self.pool.frame_start(self.packets[self.len].offset));
        }
        let offset = self.pool.take().ok_or(FrameError::PoolEmpty)?;
        self.owned += 1;
        Ok(offset)
    }

    /// Removes `count` frames from `index` on, which are another burst's now, with their buffers.
    pub(super) fn give_away(&mut self, index: usize, count: usize) {
        self.packets.copy_within(index + count..self.owned, index);
        self.notes.copy_within(index + count..self.len, index);
        self.len -= count;
        self.owned -= count;
        self.count_bytes();
    }

    pub(super) fn takes_of(&self, pool: &Mempool<'_>) -> Result<(), FrameError> {
        if !self.pool.is(pool) {
            return Err(FrameError::ForeignPool);
        }
        if self.room() == 0 { Err(FrameError::BurstFull) } else { Ok(()) }
    }

    pub(super) fn no_frame(&self, index: usize) -> FrameError {
        FrameError::NoFrame { index, len: self.len }
    }

    pub(super) fn swap(&mut self, kept: usize, index: usize) {
        self.packets.swap(kept, index);
        self.notes.swap(kept, index);
    }

    pub(super) fn count_bytes(&mut self) {
        self.totals.bytes = self.packets().iter().map(|packet| u64::from(packet.len)).sum();
    }
}
