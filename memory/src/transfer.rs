//! Frames copied from one run into another, with the checks of a whole burst made once where they can be.
#![allow(unsafe_code, reason = "moves bytes between two runs within bounds that are checked here")]

use crate::speculation::masked;
use crate::word::{against, opaque, prefetch_for_write};
use crate::{Lanes, PeerSlice};
use core::cmp::Ordering;
use core::hint::cold_path;
use core::marker::PhantomData;
use sluice_abi::net::HDR_LEN;

/// A pair of runs between which frames of bounded length are copied, each behind a header.
///
/// What lies within [`sluice_abi::map::SPECULATION_REACH`] behind the start of either run must be no secret from
/// whoever chooses the offsets: while the processor speculates that a check passes, it may touch that.
#[derive(Clone, Copy, Debug)]
pub struct Transfer<'m> {
    from: *const u8,
    /// Last offset from which the longest frame is within the run.
    last_from: u64,
    to: *mut u8,
    /// Last offset from which a header and the longest frame are within the run.
    last_to: u64,
    /// Length of the longest frame in bytes, less [`Excess::BIAS`].
    most: u64,
    memory: PhantomData<&'m ()>,
}

/// Where a frame is read from, as long as its length is not known.
#[derive(Clone, Copy, Debug)]
pub struct FrameSource<'m> {
    transfer: Transfer<'m>,
    offset: usize,
}

/// Length of a frame in bytes, less `Excess::BIAS`, modulo 2^64: what remains of a packet's second word when one
/// subtraction has taken the expected peer from it. Nothing is checked, so bits above a length's may be set.
///
/// The bias makes the most frequent class of lengths, 65 to 128 bytes, the numbers below 64, which one comparison
/// tells.
#[derive(Clone, Copy, Debug)]
pub struct Excess(u64);

impl Excess {
    /// Length in bytes that counts as 0.
    const BIAS: u64 = 65;

    /// Returns the excess of a packet whose second word is `word`.
    #[inline(always)]
    pub const fn of(word: u32, bias: Bias) -> Self {
        Self((word as u64).wrapping_sub(bias.0))
    }

    /// Returns the length of header and frame in bytes.
    #[inline(always)]
    pub const fn total(self) -> u32 {
        self.0.wrapping_add(Self::BIAS + HDR_LEN as u64) as u32
    }
}

/// The second word of a packet of `Excess::BIAS` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bias(u64);

impl Bias {
    /// Returns the bias for the peer in `empty`, the second word of a packet of no bytes.
    #[inline(always)]
    pub fn of(empty: u32) -> Self {
        // The compiler would subtract one after the other.
        Self(opaque(empty as usize + Excess::BIAS as usize) as u64)
    }
}

/// A buffer that will be filled soon, so that fetching it early pays.
pub trait Upcoming {
    /// Returns the offset of the buffer, if there is one. Nothing is checked.
    fn offset(self) -> Option<u64>;
}

/// Registers for frames that each go behind a header, which was loaded once for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Headed<L>(pub(crate) L);

impl<L: Lanes> Headed<L> {
    /// Returns `lanes` with what every frame's header needs loaded, up to [`Headed::scrub`].
    #[inline(always)]
    pub fn new(lanes: L) -> Self {
        lanes.load();
        Self(lanes)
    }

    /// Clears as [`Lanes::scrub`] does. No frame may follow.
    #[inline(always)]
    pub fn scrub(self) {
        self.0.scrub();
    }
}

/// Length in bytes beyond [`Excess::BIAS`] of the longest frame of each class: two, four and eight vector registers
/// from either end.
const UP_TO_128: i32 = 128 - BIAS as i32;
const UP_TO_256: u64 = 256 - Excess::BIAS;
const UP_TO_512: u64 = 512 - Excess::BIAS;
const BIAS: usize = Excess::BIAS as usize;
/// Length in bytes of the shortest frame that is copied here: one vector register. No Ethernet frame is shorter.
const SHORTEST: u64 = 32;

/// Offsets below which a transfer writes, in bytes, even while the processor speculates that a check passes.
const GIB_4: usize = 1 << 32;

/// Returns the last offset below 4 GiB from which `piece` bytes are within `run`.
#[inline(always)]
fn last(run: PeerSlice<'_>, piece: u64) -> Option<u64> {
    run.len().min(GIB_4 as u64).checked_sub(piece)
}

impl<'m> Transfer<'m> {
    /// Returns the transfer for frames of at most `longest` bytes, or `None` if that is less than 512 or one of the
    /// runs is too short for one such frame.
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

    /// Returns the transfer into another run, or `None` if the run is too short.
    #[inline(always)]
    pub fn into_run(self, to: PeerSlice<'m>) -> Option<Self> {
        let last_to = last(to, self.most + Excess::BIAS + u64::from(HDR_LEN))?;
        Some(Self { to: to.as_ptr(), last_to, ..self })
    }

    /// Begins to fetch, for writing, the first two cache lines of what may be written to `to`. Nothing is checked, but
    /// the offset is cut to 4 GiB.
    #[inline(always)]
    fn prefetch(self, to: u64) {
        prefetch_for_write(self.to.wrapping_add(masked::<GIB_4>(to as usize)));
    }

    /// Returns the frame that starts at `offset`, or `None` if less than the longest frame is left behind it.
    #[inline(always)]
    pub fn at(self, offset: u32) -> Option<FrameSource<'m>> {
        (u64::from(offset) <= self.last_from).then_some(FrameSource { transfer: self, offset: offset as usize })
    }
}

impl FrameSource<'_> {
    /// Writes [`sluice_abi::net::PLAIN_HDR`] and the frame, of [`crate::LINE`] bytes, to offset `to`. Returns `None`,
    /// and writes nothing, if less than header and longest frame is left behind `to`. Speculation stays below 4 GiB.
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

    /// Writes as [`FrameSource::put_line`] does, but a frame of `excess`. Returns `None`, too, if that is no length,
    /// less than 32 bytes, or more than the longest. `next` is the buffer that is worth fetching while a long frame is
    /// copied.
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
