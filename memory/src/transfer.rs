//! Frames out of one run into another: the checks of a whole burst, made once where they can be.
#![allow(unsafe_code, reason = "moves bytes between two runs within bounds that are checked here")]

use crate::lanes::LINE;
use crate::word::{low32, prefetch_for_write, store_plain_header};
use crate::{Lanes, PeerSlice};
use core::hint::cold_path;
use core::marker::PhantomData;
use sluice_abi::net::HDR_LEN;

const HDR: usize = HDR_LEN as usize;

/// A way for frames of bounded length from one run into another, each behind a header.
///
/// What lies within [`sluice_abi::map::GUESS_REACH`] behind the start of either run must be no secret from whoever chooses the
/// offsets: while the processor guesses that a check passes, it may touch that.
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
    /// For frames of at most `longest` bytes; `None` if that is less than [`LINE`], or one of the runs is too short for even one of
    /// those.
    #[inline(always)]
    pub fn new(from: PeerSlice<'m>, to: PeerSlice<'m>, longest: u16) -> Option<Self> {
        let longest = u32::from(longest);
        if longest < LINE as u32 {
            return None;
        }
        let last = |run: PeerSlice<'m>, piece: u32| run.len().min(1 << 32).checked_sub(u64::from(piece));
        let (last_from, last_to) = (last(from, longest)?, last(to, longest + HDR_LEN)?);
        Some(Self { from: from.as_ptr(), last_from, to: to.as_ptr(), last_to, longest, memory: PhantomData })
    }

    /// Begins to fetch, for writing, the first two cache lines of what may be written to `offset`, of which nothing is believed. It is below
    /// 4 GiB, then.
    #[inline(always)]
    pub fn prefetch(self, offset: u64) {
        prefetch_for_write(self.to.wrapping_add(low32(offset) as usize));
    }

    /// The [`LINE`] bytes at `offset`; `None` if less than the longest frame is left behind it.
    #[inline(always)]
    pub fn line(self, offset: u32) -> Option<Frame<'m>> {
        // new saw to it that these are not too many.
        (u64::from(offset) <= self.last_from).then_some(Frame { way: self, offset: offset as usize, len: LINE as u32 })
    }

    /// The `len` bytes at `offset`; `None` if they are none or too many, or less than the longest frame is left behind `offset`.
    #[inline(always)]
    pub fn frame(self, offset: u32, len: u32) -> Option<Frame<'m>> {
        // Less one, no bytes are more than the longest frame has.
        if len.wrapping_sub(1) >= self.longest || u64::from(offset) > self.last_from {
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
    pub fn put(self, offset: u64, lanes: impl Lanes) -> Option<()> {
        let Transfer { from, to, last_to, .. } = self.way;
        if offset > last_to {
            return None;
        }
        let (offset, len) = (low32(offset) as usize, self.len as usize);
        // SAFETY: the source: offset + len <= last_from + longest <= the run's length, checked by Transfer::frame. The target:
        // offset is below 4 GiB, so low32 left it; offset + header + len <= last_to + header + longest <= the run's length.
        unsafe {
            if len == LINE {
                lanes.line(to, offset, from, self.offset);
            } else {
                cold_path();
                store_plain_header(to, offset);
                lanes.copy(to.add(offset + HDR), from.add(self.offset), len);
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::Words;
    use sluice_abi::net::PLAIN_HDR;
    use std::vec::Vec;

    fn memory(bytes: &mut [u8]) -> PeerSlice<'_> {
        // SAFETY: the bytes outlive the slice and are not touched otherwise.
        unsafe { PeerSlice::from_raw(bytes.as_mut_ptr(), bytes.len() as u64) }
    }

    #[test]
    fn every_frame_arrives_behind_its_header_and_nothing_else_is_written() {
        // An interpreter takes its time.
        for len in (1..=200).step_by(if cfg!(miri) { 16 } else { 1 }) {
            let mut from: Vec<u8> = (1..=250).collect();
            let mut to = std::vec![0; 300];
            let way = Transfer::new(memory(&mut from), memory(&mut to), 200).unwrap();
            let frame = if len == LINE as u32 { way.line(50) } else { way.frame(50, len) }.unwrap();
            assert_eq!((frame.total(), frame.put(88, Words)), (12 + len, Some(())));
            let end = 100 + len as usize;
            assert_eq!((&to[88..100], &to[100..end]), (&PLAIN_HDR[..], &from[50..50 + len as usize]));
            assert!(to[..88].iter().chain(&to[end..]).all(|&byte| byte == 0));
        }
    }

    #[test]
    fn what_could_leave_either_run_is_refused() {
        let (mut from, mut to) = (std::vec![1; 250], std::vec![0; 300]);
        let way = Transfer::new(memory(&mut from), memory(&mut to), 200).unwrap();
        for (offset, len) in [(51, 1), (0, 0), (0, 201), (u32::MAX, 1), (0, u32::MAX)] {
            assert!(way.frame(offset, len).is_none());
        }
        assert!(way.line(50).is_some() && [51, u32::MAX].map(|offset| way.line(offset)).iter().all(Option::is_none));
        let frame = way.frame(0, 1).unwrap();
        for offset in [89, 300, 1 << 32, u64::MAX] {
            assert!(frame.put(offset, Words).is_none());
        }
        assert!([251, 63].iter().all(|&longest| Transfer::new(memory(&mut from), memory(&mut to), longest).is_none()));
        assert!(Transfer::new(memory(&mut to), memory(&mut from), 239).is_none());
        assert!(to.iter().all(|&byte| byte == 0));
    }

    /// Offsets that are written are cut to 32 bits, so none at or above that may pass the check, however long the run is.
    #[cfg(not(miri))]
    #[test]
    fn what_lies_behind_4_gib_is_not_written_in_place_of_what_lies_before() {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        let len = (1u64 << 32) + 0x1000;
        // SAFETY: a new mapping; zeroed, never undone, and only the slice leads into it. Pages get memory as they are touched: two.
        let to = unsafe {
            let base = mmap_anonymous(core::ptr::null_mut(), len as usize, prot, flags).expect("addresses, not memory");
            PeerSlice::from_raw(base.cast(), len)
        };
        let mut from = std::vec![7; 250];
        let frame = Transfer::new(memory(&mut from), to, 200).unwrap().line(0).unwrap();
        let last = (1 << 32) - 200 - u64::from(HDR_LEN);
        assert_eq!([last, last + 1, 1 << 32, len - 212].map(|at| frame.put(at, Words)), [Some(()), None, None, None]);
        assert_eq!((to.read(0), to.read(last + 12)), (Ok(0u64), Ok(0x0707_0707_0707_0707u64)));
    }
}
