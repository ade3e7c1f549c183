//! One frame of a burst.

use crate::Mempool;
use core::ops::Deref;
use sluice_abi::PeerIdx;
use sluice_abi::call::{MAX_BURST, Packet};
use sluice_abi::net::{Hdr, HdrF, Offloads, gso};
use sluice_memory::{PeerSlice, Words};

/// The notes of a frame, which the API keeps in private memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    /// Header of the frame. It fits the frame.
    pub hdr: Hdr,
    pub mark: u32,
}

impl Note {
    /// The notes of a new frame: no offload, mark 0.
    pub const PLAIN: Self = Self { hdr: PLAIN, mark: 0 };

    /// Returns whether the header asks the receiver for an offload, and must go with the frame. No header asks for
    /// segmentation without a checksum.
    #[inline(always)]
    pub const fn needs_header(&self) -> bool {
        self.hdr.flags & HdrF::NEEDS_CSUM.bits() != 0
    }
}

const PLAIN: Hdr =
    Hdr { flags: 0, gso_type: gso::NONE, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0, num_buffers: 1 };

/// The notes of a burst about all its frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub bytes: u64,
    /// The peer that all frames name, where none has a header; `None` if frames may name different peers.
    pub peer: Option<PeerIdx>,
    /// Whether some frame may need a header, or have one that it no longer needs.
    pub headers: bool,
}

impl Totals {
    pub const NONE: Self = Self { bytes: 0, peer: Some(PeerIdx(0)), headers: false };

    pub fn header(&mut self) {
        (self.peer, self.headers) = (None, true);
    }
}

/// Reasons for which a frame can't be added or changed. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The burst holds [`MAX_BURST`] frames.
    #[error("the burst is full: it holds {MAX_BURST} frames")]
    BurstFull,
    /// No buffer of the pool is free.
    #[error("no buffer of the pool is free")]
    PoolEmpty,
    /// The two bursts are of different pools.
    #[error("the bursts are of different pools")]
    ForeignPool,
    /// The burst has no frame at this index.
    #[error("the burst has no frame {index}: it has {len}")]
    NoFrame {
        /// The index.
        index: usize,
        /// Number of frames of the burst.
        len: usize,
    },
    /// A frame has at least one byte.
    #[error("a frame has at least one byte")]
    Empty,
    /// The buffer has no room for the bytes, or the frame has fewer.
    #[error("there is room for {room} bytes, not for {wanted}")]
    NoRoom {
        /// Number of bytes that were asked for.
        wanted: u32,
        /// Number of bytes of the buffer or the frame.
        room: u32,
    },
    /// The offloads would not fit the frame: the checksum would lie outside, or segmentation lacks a size or a
    /// checksum.
    #[error("the offloads do not fit the frame: checksum at {} of {len} bytes, segments of {} bytes",
        u32::from(.hdr.csum_start) + u32::from(.hdr.csum_offset), .hdr.gso_size)]
    Offloads {
        /// Header that asks for the offloads.
        hdr: Hdr,
        /// Length of the frame in bytes.
        len: u32,
    },
}

impl FrameError {
    /// Returns why there is no frame of `len` bytes where there is room for `room`.
    #[cold]
    pub(crate) const fn of_len(len: u32, room: u32) -> Self {
        if len == 0 { Self::Empty } else { Self::NoRoom { wanted: len, room } }
    }
}

/// A frame, for reading. Its bytes lie in packet memory, which a peer's window code and this VM's device may share:
/// each read is a copy.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'b> {
    pub(crate) pool: &'b Mempool<'b>,
    pub(crate) packet: Packet,
    pub(crate) note: Note,
}

impl<'b> Frame<'b> {
    /// Returns the frame `packet` of `pool`, with notes of a new frame.
    pub(crate) const fn bare(pool: &'b Mempool<'b>, packet: Packet) -> Self {
        Self { pool, packet, note: Note::PLAIN }
    }

    /// Returns the length of the frame in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no frame is empty")]
    #[inline(always)]
    pub const fn len(&self) -> u16 {
        self.packet.len
    }

    /// Returns the `N` bytes at `at`, for any parser; `None` if the frame ends before them.
    #[inline]
    pub fn head<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.bytes().copy_to_slice(at as u64, &mut bytes).ok()?;
        Some(bytes)
    }

    /// Copies the bytes at `at` into all of `bytes`.
    ///
    /// # Errors
    /// [`FrameError::NoRoom`] if the frame ends before them.
    pub fn copy_to_slice(&self, at: usize, bytes: &mut [u8]) -> Result<(), FrameError> {
        self.within(at, bytes.len())?;
        self.bytes().copy_to_slice(at as u64, bytes).map_err(|_| FrameError::Empty)
    }

    /// Returns all bytes as shared memory.
    #[inline]
    pub fn bytes(&self) -> PeerSlice<'b> {
        self.pool.slice(self.packet.offset, u32::from(self.packet.len))
    }

    /// Returns the peer that the frame names for [`crate::Scatter`].
    pub const fn peer(&self) -> PeerIdx {
        self.packet.peer
    }

    /// Returns the header of the frame, if its sender left work to the receiver or says that the checksum is valid.
    /// `num_buffers` is 1. See: VIRTIO 5.1.6.4 "Processing of Incoming Packets".
    pub const fn offloads(&self) -> Option<Hdr> {
        if self.note.hdr.flags == 0 { None } else { Some(self.note.hdr) }
    }

    /// Returns the mark, a number of the caller's. A frame that a device received has the number of the queue pair that
    /// it arrived by, any other new one has 0. The mark moves with the frame and is not sent.
    pub const fn mark(&self) -> u32 {
        self.note.mark
    }

    fn within(&self, at: usize, len: usize) -> Result<(), FrameError> {
        let room = usize::from(self.packet.len).saturating_sub(at);
        let fits = len <= room;
        let wanted = u32::try_from(len).unwrap_or(u32::MAX);
        if fits { Ok(()) } else { Err(FrameError::NoRoom { wanted, room: room as u32 }) }
    }
}

/// A frame, for changing. All methods of [`Frame`] read it.
#[derive(Debug)]
pub struct FrameMut<'b> {
    frame: Frame<'b>,
    packet: &'b mut Packet,
    note: &'b mut Note,
    totals: &'b mut Totals,
}

impl<'b> Deref for FrameMut<'b> {
    type Target = Frame<'b>;

    #[inline(always)]
    fn deref(&self) -> &Frame<'b> {
        &self.frame
    }
}

impl<'b> FrameMut<'b> {
    #[inline(always)]
    pub(crate) fn new(
        pool: &'b Mempool<'b>,
        packet: &'b mut Packet,
        note: &'b mut Note,
        totals: &'b mut Totals,
    ) -> Self {
        Self { frame: Frame { pool, packet: *packet, note: *note }, packet, note, totals }
    }

    /// Writes `bytes` at `at`.
    ///
    /// # Errors
    /// [`FrameError::NoRoom`] if the frame ends before them.
    #[inline]
    pub fn set(&mut self, at: usize, bytes: &[u8]) -> Result<(), FrameError> {
        self.frame.within(at, bytes.len())?;
        self.frame.bytes().copy_from_slice(at as u64, bytes).map_err(|_| FrameError::Empty)
    }

    /// Adds `len` undefined bytes before the first. A checksum that is left to the receiver moves along.
    ///
    /// # Errors
    /// [`FrameError::NoRoom`] if the headroom is shorter; [`FrameError::Offloads`].
    pub fn prepend(&mut self, len: u16) -> Result<(), FrameError> {
        let offset = self.frame.packet.offset;
        let room = self.frame.pool.headroom(offset).min(u32::from(u16::MAX - self.frame.len()));
        if u32::from(len) > room {
            return Err(FrameError::NoRoom { wanted: len.into(), room });
        }
        let hdr = self.moved(|at| at.checked_add(len))?;
        self.reshape(offset - u32::from(len), self.frame.len() + len, hdr)
    }

    /// Drops the first `len` bytes. A checksum that is left to the receiver moves along.
    ///
    /// # Errors
    /// [`FrameError::NoRoom`] if the frame is shorter, [`FrameError::Empty`] if nothing would be left,
    /// [`FrameError::Offloads`] if the checksum starts within the bytes.
    pub fn trim_front(&mut self, len: u16) -> Result<(), FrameError> {
        let left = self.left_without(len)?;
        let hdr = self.moved(|at| at.checked_sub(len))?;
        self.reshape(self.frame.packet.offset + u32::from(len), left, hdr)
    }

    /// Adds `len` undefined bytes behind the last.
    ///
    /// # Errors
    /// [`FrameError::NoRoom`] if the buffer ends before them.
    pub fn append(&mut self, len: u16) -> Result<(), FrameError> {
        let Packet { offset, len: before, .. } = self.frame.packet;
        let room = self.frame.pool.room_behind(offset).min(u16::MAX.into()) - u32::from(before);
        if u32::from(len) > room {
            return Err(FrameError::NoRoom { wanted: len.into(), room });
        }
        self.reshape(offset, before + len, self.frame.note.hdr)
    }

    /// Drops all bytes behind the first `len`; a shorter frame stays as it is.
    ///
    /// # Errors
    /// [`FrameError::Empty`] if `len` is 0; [`FrameError::Offloads`] if a checksum that is left to the receiver lies
    /// behind them.
    pub fn truncate(&mut self, len: u16) -> Result<(), FrameError> {
        let left = self.left_without(self.frame.len().saturating_sub(len))?;
        self.reshape(self.frame.packet.offset, left, self.frame.note.hdr)
    }

    /// Leaves work to the receiver of the frame: to complete a checksum, and with it to segment the frame. A peer that
    /// does not take that refuses the frame when it is sent; [`crate::Gate::offloads`] tells before. `num_buffers` is
    /// ignored. See: VIRTIO 5.1.6.2 "Packet Transmission".
    ///
    /// # Errors
    /// [`FrameError::Offloads`] if `hdr` does not fit the frame.
    pub fn set_offloads(&mut self, hdr: Hdr) -> Result<(), FrameError> {
        let hdr = Hdr { num_buffers: 1, ..hdr.known() };
        self.reshape(self.frame.packet.offset, self.frame.len(), hdr)?;
        self.totals.header();
        Ok(())
    }

    /// Leaves no work to the receiver of the frame.
    pub fn clear_offloads(&mut self) {
        (self.frame.note.hdr, self.note.hdr) = (PLAIN, PLAIN);
    }

    /// Sets the number that [`Frame::mark`] returns.
    pub fn set_mark(&mut self, mark: u32) {
        (self.frame.note.mark, self.note.mark) = (mark, mark);
    }

    /// Names the peer that the frame is for. Only [`crate::Scatter`] uses this name. A frame for a peer that the
    /// directory does not have is refused.
    pub fn set_peer(&mut self, peer: PeerIdx) {
        (self.frame.packet.peer, self.packet.peer) = (peer, peer);
        self.totals.peer = None;
    }

    /// Copies all bytes of `from`, which has the same length.
    pub(crate) fn copy_bytes(&mut self, from: &Frame<'_>) -> Result<(), FrameError> {
        self.frame.bytes().copy_from(0, from.bytes(), Words).map_err(|_| FrameError::Empty)
    }

    fn left_without(&self, len: u16) -> Result<u16, FrameError> {
        match self.frame.len().checked_sub(len) {
            Some(0) => Err(FrameError::Empty),
            Some(left) => Ok(left),
            None => Err(FrameError::NoRoom { wanted: len.into(), room: self.frame.len().into() }),
        }
    }

    /// Returns the header with `csum_start` at `to`, and the hint `hdr_len` moved along. Without a checksum these
    /// fields are undefined.
    fn moved(&self, to: impl Fn(u16) -> Option<u16>) -> Result<Hdr, FrameError> {
        let hdr = self.frame.note.hdr;
        if !self.frame.note.needs_header() {
            return Ok(hdr);
        }
        let csum_start = to(hdr.csum_start).ok_or(FrameError::Offloads { hdr, len: self.frame.len().into() })?;
        Ok(Hdr { csum_start, hdr_len: to(hdr.hdr_len).unwrap_or(0), ..hdr })
    }

    fn reshape(&mut self, offset: u32, len: u16, hdr: Hdr) -> Result<(), FrameError> {
        if !hdr.fits(len.into(), Offloads::all()) {
            return Err(FrameError::Offloads { hdr, len: len.into() });
        }
        self.totals.bytes = self.totals.bytes - u64::from(self.frame.len()) + u64::from(len);
        (self.frame.packet.offset, self.frame.packet.len, self.frame.note.hdr) = (offset, len, hdr);
        (*self.packet, *self.note) = (self.frame.packet, self.frame.note);
        Ok(())
    }
}
