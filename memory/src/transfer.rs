//! Frames out of one run into another: the checks of a whole burst, made once where they can be.
#![allow(unsafe_code, reason = "moves bytes between two runs within bounds that are checked here")]

use crate::PeerSlice;
use crate::copy::{LINE, copy, line, low32, store_plain_header};
use core::hint::cold_path;
use core::marker::PhantomData;
use sluice_abi::net::HDR_LEN;

const HDR: usize = HDR_LEN as usize;

/// A way for frames of bounded length from one run into another, each behind a header.
///
/// What lies within 4 GiB behind the start of either run must be no secret from whoever chooses the offsets: while the processor
/// guesses that a check passes, it may touch that. The sluice slot is laid out for it ([`sluice_abi::map`]).
#[derive(Clone, Copy, Debug)]
pub struct Transfer<'m> {
    from: *const u8,
    /// Last offset from which `longest` bytes are within the run.
    last_from: u64,
    to: *mut u8,
    /// Last offset from which a header and `longest` bytes are within the run.
    last_to: u64,
    /// Bytes of the longest frame.
    longest: u32,
    memory: PhantomData<&'m ()>,
}

/// A frame that can be taken.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'m> {
    way: Transfer<'m>,
    offset: usize,
    len: u32,
}

impl<'m> Transfer<'m> {
    /// For frames of at most `longest` bytes; `None` if one of the runs is too short for even one of those.
    #[inline(always)]
    pub fn new(from: PeerSlice<'m>, to: PeerSlice<'m>, longest: u16) -> Option<Self> {
        let longest = u32::from(longest);
        let last = |run: PeerSlice<'m>, piece: u32| run.len().min(1 << 32).checked_sub(u64::from(piece));
        let (last_from, last_to) = (last(from, longest)?, last(to, longest + HDR_LEN)?);
        Some(Self { from: from.as_ptr(), last_from, to: to.as_ptr(), last_to, longest, memory: PhantomData })
    }

    /// The `len` bytes at `offset`; `None` if they are too many, or less than the longest frame is left behind `offset`.
    #[inline(always)]
    pub fn frame(self, offset: u32, len: u32) -> Option<Frame<'m>> {
        if len > self.longest || u64::from(offset) > self.last_from {
            return None;
        }
        Some(Frame { way: self, offset: offset as usize, len })
    }
}

impl Frame<'_> {
    /// Bytes of header and frame.
    #[inline(always)]
    pub const fn total(&self) -> u32 {
        self.len + HDR_LEN
    }

    /// Writes [`sluice_abi::net::PLAIN_HDR`] and the frame to `offset`; `None`, and nothing is written, if less than header and longest frame is left
    /// behind `offset`. While the processor guesses, the offset is below 4 GiB.
    #[inline(always)]
    pub fn put(self, offset: u64) -> Option<()> {
        let Transfer { from, to, last_to, .. } = self.way;
        if offset > last_to {
            return None;
        }
        let (offset, len) = (low32(offset) as usize, self.len as usize);
        // SAFETY: the source: offset + len <= last_from + longest <= the run's length, checked by Transfer::frame. The target:
        // offset is below 4 GiB, so low32 left it; offset + header + len <= last_to + header + longest <= the run's length.
        unsafe {
            store_plain_header(to, offset);
            if len == LINE {
                line::<HDR>(to, offset, from, self.offset);
            } else {
                cold_path();
                copy(to.add(offset + HDR), from.add(self.offset), len);
            }
        }
        Some(())
    }
}
