//! A burst: frames that belong to the caller, in order.

mod port;
mod tail;

use crate::frame::{Note, Totals};
use crate::{Frame, FrameError, FrameMut, Mempool};
use core::fmt;
use sluice_abi::PeerIdx;
use sluice_abi::call::{MAX_BURST, Packet};

/// Default number of frames in a burst, as in DPDK's examples.
pub const BURST_SIZE: usize = 32;

/// Up to [`MAX_BURST`] frames of one pool. A port takes frames from the front of a burst; those that it does not take
/// stay, in order.
///
/// Buffers of frames that left stay with the burst for the next frames, as they are still in the cache.
/// [`Burst::release`] gives them back to the pool, and so does dropping the burst, with all its frames.
pub struct Burst<'p> {
    pool: &'p Mempool<'p>,
    /// The first `len` are frames. Those behind them, up to `owned`, are spare buffers, each with an offset anywhere in
    /// it.
    packets: [Packet; MAX_BURST],
    /// Headers and marks of the first `len`, in private memory.
    notes: [Note; MAX_BURST],
    len: usize,
    owned: usize,
    totals: Totals,
}

impl<'p> Burst<'p> {
    pub(crate) fn new(pool: &'p Mempool<'p>) -> Self {
        let packets = [Packet::new(0, 0, PeerIdx(0)); MAX_BURST];
        Self { pool, packets, notes: [Note::PLAIN; MAX_BURST], len: 0, owned: 0, totals: Totals::NONE }
    }

    /// Returns the number of frames.
    #[inline(always)]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the burst has no frame.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of frames that can still be added.
    pub const fn room(&self) -> usize {
        MAX_BURST - self.len
    }

    /// Returns the length of all frames in bytes, without headers of virtio-net.
    #[inline(always)]
    pub const fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// Adds a new frame of `len` bytes and returns it for filling. Its bytes are undefined.
    ///
    /// # Errors
    /// [`FrameError::Empty`], [`FrameError::NoRoom`] if a buffer holds no frame of `len` bytes,
    /// [`FrameError::BurstFull`], [`FrameError::PoolEmpty`].
    #[inline]
    pub fn push(&mut self, len: u16) -> Result<FrameMut<'_>, FrameError> {
        let room = self.pool.longest_frame();
        if len == 0 || len > room {
            return Err(FrameError::of_len(len.into(), room.into()));
        }
        let offset = self.new_buffer()?;
        let index = self.len;
        self.add(Packet::new(offset, len, PeerIdx(0)), Note::PLAIN);
        self.frame_mut(index)
    }

    /// Adds a copy of `bytes` as a frame.
    ///
    /// # Errors
    /// As [`Burst::push`].
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Result<FrameMut<'_>, FrameError> {
        let len = u16::try_from(bytes.len()).map_err(|_| FrameError::NoRoom {
            wanted: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            room: self.pool.longest_frame().into(),
        })?;
        let mut frame = self.push(len)?;
        frame.set(0, bytes)?;
        Ok(frame)
    }

    /// Returns the frame at `index` for reading.
    ///
    /// # Errors
    /// [`FrameError::NoFrame`].
    pub fn frame(&self, index: usize) -> Result<Frame<'_>, FrameError> {
        match (self.packets().get(index), self.notes.get(index)) {
            (Some(&packet), Some(&note)) => Ok(Frame { pool: self.pool, packet, note }),
            _ => Err(self.no_frame(index)),
        }
    }

    /// Returns the frame at `index` for changing.
    ///
    /// # Errors
    /// [`FrameError::NoFrame`].
    #[inline]
    pub fn frame_mut(&mut self, index: usize) -> Result<FrameMut<'_>, FrameError> {
        let error = self.no_frame(index);
        let packet = self.packets[..self.len].get_mut(index);
        let (Some(packet), Some(note)) = (packet, self.notes.get_mut(index)) else { return Err(error) };
        Ok(FrameMut::new(self.pool, packet, note, &mut self.totals))
    }

    /// Returns all frames for reading, in order.
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = Frame<'_>> + ExactSizeIterator {
        let notes = self.notes.get(..self.len).unwrap_or_default();
        let parts = self.packets().iter().zip(notes);
        parts.map(|(&packet, &note)| Frame { pool: self.pool, packet, note })
    }

    /// Names the peer that the frame at `index` is for. Only [`crate::Scatter`] uses this name. A frame for a peer that
    /// the directory does not have is refused.
    ///
    /// # Errors
    /// [`FrameError::NoFrame`].
    pub fn set_peer(&mut self, index: usize, peer: PeerIdx) -> Result<(), FrameError> {
        self.frame_mut(index).map(|mut frame| frame.set_peer(peer))
    }

    /// Shows each frame to `keep`, in order, and drops those for which `keep` returns `false`. The others stay, in
    /// order.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut FrameMut<'_>) -> bool) {
        let mut kept = 0;
        for index in 0..self.len {
            if self.frame_mut(index).is_ok_and(|mut frame| keep(&mut frame)) {
                self.swap(kept, index);
                kept += 1;
            }
        }
        self.len = kept;
        self.count_bytes();
    }

    /// Drops the frame at `index`; the others stay, in order. Returns whether the burst had such a frame.
    pub fn remove(&mut self, index: usize) -> bool {
        let there = index < self.len;
        if there {
            self.packets[index..self.len].rotate_left(1);
            self.notes[index..self.len].rotate_left(1);
            self.len -= 1;
            self.count_bytes();
        }
        there
    }

    /// Drops the first `count` frames, or all if the burst has fewer.
    pub fn drop_front(&mut self, count: usize) {
        let count = count.min(self.len);
        self.packets[..self.len].rotate_left(count);
        self.notes[..self.len].rotate_left(count);
        self.len -= count;
        self.count_bytes();
    }

    /// Drops all frames.
    #[inline(always)]
    pub fn clear(&mut self) {
        (self.len, self.totals.bytes) = (0, 0);
    }

    /// Gives spare buffers back to the pool.
    pub fn release(&mut self) {
        let spares = self.packets.get(self.len..self.owned).unwrap_or_default();
        spares.iter().for_each(|spare| self.pool.give_back(spare.offset));
        self.owned = self.len;
    }

    /// Brings the first `count` frames in the order of the peers that they name; those of one peer stay in order. A
    /// [`crate::Scatter`] finds each peer once then.
    pub fn sort_by_peer(&mut self, count: usize) {
        let count = count.min(self.len);
        let is_sorted = self.packets[..count].is_sorted_by_key(|packet| packet.peer);
        if is_sorted {
            return;
        }
        let (packets, notes) = (self.packets, self.notes);
        let mut order: [u8; MAX_BURST] = core::array::from_fn(|at| at as u8);
        // No two are equal, so that this is as good as a stable sort, which would allocate.
        order[..count].sort_unstable_by_key(|&at| (packets[usize::from(at)].peer, at));
        for (to, &from) in order[..count].iter().enumerate() {
            (self.packets[to], self.notes[to]) = (packets[usize::from(from)], notes[usize::from(from)]);
        }
    }

    /// Moves the frame at `index` to the end of `to`; the others stay, in order. Nothing is copied.
    ///
    /// # Errors
    /// [`FrameError::ForeignPool`], [`FrameError::NoFrame`] and [`FrameError::BurstFull`], with which the frame stays.
    pub fn move_to(&mut self, index: usize, to: &mut Burst<'_>) -> Result<(), FrameError> {
        to.takes_of(self.pool)?;
        let (Some(&packet), Some(&note)) = (self.packets().get(index), self.notes.get(index)) else {
            return Err(self.no_frame(index));
        };
        to.put(packet, note);
        self.give_away(index, 1);
        Ok(())
    }

    /// Moves the first frames of `from` to the end of this burst: at most `most`, and as many as this burst has room
    /// for. Returns the number of frames that were moved.
    ///
    /// # Errors
    /// [`FrameError::ForeignPool`], with which nothing is moved.
    pub fn append(&mut self, from: &mut Burst<'_>, most: usize) -> Result<usize, FrameError> {
        if !self.pool.is(from.pool) {
            return Err(FrameError::ForeignPool);
        }
        let count = most.min(from.len).min(self.room());
        for (&packet, &note) in from.packets.iter().zip(&from.notes).take(count) {
            self.put(packet, note);
        }
        from.given_away(count);
        Ok(count)
    }

    /// Adds a copy of the frame at `index`, with its offloads, mark and peer, to the end of `to`.
    ///
    /// # Errors
    /// [`FrameError::ForeignPool`], [`FrameError::NoFrame`], [`FrameError::BurstFull`], [`FrameError::PoolEmpty`].
    pub fn duplicate(&self, index: usize, to: &mut Burst<'_>) -> Result<(), FrameError> {
        to.takes_of(self.pool)?;
        let frame = self.frame(index)?;
        let buffer = to.new_buffer()?;
        // The copy starts where the original starts in its buffer, so that a frame that grew into its headroom fits.
        let offset = self.pool.start_of(buffer) + (frame.packet.offset - self.pool.start_of(frame.packet.offset));
        to.add_named(Packet { offset, ..frame.packet }, frame.note);
        to.frame_mut(to.len - 1)?.copy_bytes(&frame)
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
