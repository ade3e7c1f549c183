//! Frames out of one run into another: the checks of a whole burst, made once where they can be.
#![allow(unsafe_code, reason = "moves bytes between two runs within bounds that are checked here")]

use crate::guess::masked;
use crate::word::{against, opaque, prefetch_for_write};
use crate::{Headed, Lanes, PeerSlice};
use core::cmp::Ordering;
use core::hint::cold_path;
use core::marker::PhantomData;
use sluice_abi::net::HDR_LEN;

/// A way for frames of bounded length from one run into another, each behind a header.
///
/// What lies within [`sluice_abi::map::GUESS_REACH`] behind the start of either run must be no secret from whoever
/// chooses the offsets: while the processor guesses that a check passes, it may touch that.
#[derive(Clone, Copy, Debug)]
pub struct Transfer<'m> {
    from: *const u8,
    /// Last offset from which `longest` bytes are within the run.
    last_from: u64,
    to: *mut u8,
    /// Last offset from which a header and `longest` bytes are within the run.
    last_to: u64,
    /// Bytes of the longest frame beyond [`Excess::BIAS`].
    most: u64,
    memory: PhantomData<&'m ()>,
}

/// A frame whose length is not known yet.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'m> {
    transfer: Transfer<'m>,
    offset: usize,
}

/// Length of a frame, less `Excess::BIAS`, modulo 2^64: what a packet's second word becomes when one subtraction has
/// taken the expected peer from it. Nothing of it is checked, so other bits than a length's may be set.
///
/// The bias makes the most frequent class of lengths, 65 to 128 bytes, those below 64, which one comparison tells.
#[derive(Clone, Copy, Debug)]
pub struct Excess(u64);

impl Excess {
    /// Bytes.
    const BIAS: u64 = 65;

    /// Of a packet whose second word is `word`.
    #[inline(always)]
    pub const fn of(word: u32, bias: Bias) -> Self {
        Self((word as u64).wrapping_sub(bias.0))
    }

    /// Bytes of header and frame.
    #[inline(always)]
    pub const fn total(self) -> u32 {
        self.0.wrapping_add(Self::BIAS + HDR_LEN as u64) as u32
    }
}

/// The second word of a packet of `Excess::BIAS` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bias(u64);

impl Bias {
    /// For a peer: `empty` is the second word of a packet of no bytes.
    #[inline(always)]
    pub fn of(empty: u32) -> Self {
        // The compiler would subtract one after the other.
        Self(opaque(empty as usize + Excess::BIAS as usize) as u64)
    }
}

/// Where a buffer will be that is worth fetching early.
pub trait Upcoming {
    /// Its offset, of which nothing is checked, if there is one.
    fn offset(self) -> Option<u64>;
}

/// Bytes that a frame has beyond [`Excess::BIAS`] if it is the longest of its class: two, four and eight vector
/// registers from either end.
const UP_TO_128: i32 = 128 - BIAS as i32;
const UP_TO_256: u64 = 256 - Excess::BIAS;
const UP_TO_512: u64 = 512 - Excess::BIAS;
const BIAS: usize = Excess::BIAS as usize;
/// The shortest frame that is moved here, bytes: one vector register. No Ethernet frame is shorter.
const SHORTEST: u64 = 32;

/// Bytes within which a transfer writes: what is left of an offset while the processor predicts that its check passes.
const GIB_4: usize = 1 << 32;

/// Last offset below 4 GiB from which `piece` bytes are within `run`.
#[inline(always)]
fn last(run: PeerSlice<'_>, piece: u64) -> Option<u64> {
    run.len().min(GIB_4 as u64).checked_sub(piece)
}

impl<'m> Transfer<'m> {
    /// For frames of at most `longest` bytes; `None` if that is less than 512, or one of the runs is too short for even
    /// one of those.
    #[inline(always)]
    pub fn new(from: PeerSlice<'m>, to: PeerSlice<'m>, longest: u16) -> Option<Self> {
        let longest = u64::from(longest);
        // Whoever has a length's class knows with it that the frame is not too long.
        if longest < Excess::BIAS + UP_TO_512 {
            return None;
        }
        let (last_from, last_to) = (last(from, longest)?, last(to, longest + u64::from(HDR_LEN))?);
        let most = longest - Excess::BIAS;
        Some(Self { from: from.as_ptr(), last_from, to: to.as_ptr(), last_to, most, memory: PhantomData })
    }

    /// The same into another run; `None` if that is too short.
    #[inline(always)]
    pub fn into_run(self, to: PeerSlice<'m>) -> Option<Self> {
        let last_to = last(to, self.most + Excess::BIAS + u64::from(HDR_LEN))?;
        Some(Self { to: to.as_ptr(), last_to, ..self })
    }

    /// Begins to fetch, for writing, the first two cache lines of what may be written to `to`, of which nothing is
    /// believed. The offset is below 4 GiB, then.
    #[inline(always)]
    fn prefetch(self, to: u64) {
        prefetch_for_write(self.to.wrapping_add(masked::<GIB_4>(to as usize)));
    }

    /// A frame that starts at `offset`; `None` if less than the longest is left behind it.
    #[inline(always)]
    pub fn at(self, offset: u32) -> Option<Frame<'m>> {
        (u64::from(offset) <= self.last_from).then_some(Frame { transfer: self, offset: offset as usize })
    }
}

impl Frame<'_> {
    /// Writes [`sluice_abi::net::PLAIN_HDR`] and the frame, of [`crate::LINE`] bytes, to offset `to`; `None`, and
    /// nothing is written, if less than header and longest frame is left behind `to`. While the processor guesses, that
    /// is below 4 GiB.
    #[inline(always)]
    pub fn put_line(self, to: u64, Headed(lanes): Headed<impl Lanes>) -> Option<()> {
        let transfer = self.transfer;
        if to > transfer.last_to {
            return None;
        }
        // SAFETY: offset + LINE <= last_from + longest <= the run's length, checked by Transfer::at. The target: to is
        // below 4 GiB, so the mask leaves it; to + header + LINE <= last_to + header + longest <= the run's length.
        // Transfer::new saw to it that LINE is at most the longest.
        unsafe { lanes.line(transfer.to, masked::<GIB_4>(to as usize), transfer.from, self.offset) };
        Some(())
    }

    /// The same for a frame of `excess`: `None`, too, if that is the length of none, or of one of less than 32 bytes or
    /// more than the longest. `next` says where the buffer will be that is worth fetching while a long frame is copied.
    #[inline(always)]
    pub fn put(self, excess: Excess, to: u64, Headed(lanes): Headed<impl Lanes>, next: impl Upcoming) -> Option<()> {
        let (transfer, excess) = (self.transfer, excess.0);
        if to > transfer.last_to {
            return None;
        }
        // SAFETY: as in put_line, as each class is of lengths that are at most the longest. In each, the modulus leaves
        // the excess as it is; the registers from both ends cover a frame of the class and do not go beyond it.
        unsafe {
            let (from, to) = (transfer.from.add(self.offset), transfer.to.add(masked::<GIB_4>(to as usize)));
            match against::<UP_TO_128>(excess) {
                Ordering::Equal => lanes.headed_ends::<2, BIAS>(to, from, masked::<64>(excess as usize)),
                Ordering::Less => {
                    let len = excess.wrapping_add(Excess::BIAS);
                    if len.wrapping_sub(SHORTEST) >= Excess::BIAS - SHORTEST {
                        return None;
                    }
                    lanes.headed_ends::<1, 0>(to, from, masked::<128>(len as usize));
                }
                _ if excess <= UP_TO_256 => lanes.headed_ends::<4, BIAS>(to, from, masked::<256>(excess as usize)),
                _ if excess <= UP_TO_512 => {
                    // Out of the way of shorter frames, to which a jump is more.
                    cold_path();
                    lanes.headed_ends::<8, BIAS>(to, from, masked::<512>(excess as usize));
                }
                _ if excess <= transfer.most => {
                    cold_path();
                    if let Some(next) = next.offset() {
                        transfer.prefetch(next);
                    }
                    lanes.headed_long(to, from, masked::<0x1_0000>(excess as usize) + BIAS);
                }
                _ => return None,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
