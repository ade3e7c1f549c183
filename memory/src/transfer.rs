//! Frames out of one run into another: the checks of a whole burst, made once where they can be.
#![allow(unsafe_code, reason = "moves bytes between two runs within bounds that are checked here")]

use crate::word::{against, low16, low32, modulo, opaque, prefetch_for_write};
use crate::{Headed, Lanes, PeerSlice};
use core::cmp::Ordering;
use core::hint::cold_path;
use core::marker::PhantomData;
use sluice_abi::net::HDR_LEN;

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

/// Length of a frame, less `Excess::BIAS`, modulo 2^64: what a packet's second word becomes when one subtraction has taken the expected
/// peer from it. Nothing of it is checked, so other bits than a length's may be set.
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

/// Bytes that a frame has beyond [`Excess::BIAS`] if it is the longest of its class: two, four and eight vector registers from either end.
const UP_TO_128: i32 = 128 - BIAS as i32;
const UP_TO_256: u64 = 256 - Excess::BIAS;
const UP_TO_512: u64 = 512 - Excess::BIAS;
const BIAS: usize = Excess::BIAS as usize;
/// The shortest frame that is moved here, bytes: one vector register. No Ethernet frame is shorter.
const SHORTEST: u64 = 32;

/// Last offset below 4 GiB from which `piece` bytes are within `run`.
#[inline(always)]
fn last(run: PeerSlice<'_>, piece: u64) -> Option<u64> {
    run.len().min(1 << 32).checked_sub(piece)
}

impl<'m> Transfer<'m> {
    /// For frames of at most `longest` bytes; `None` if that is less than 512, or one of the runs is too short for even one of those.
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

    /// Begins to fetch, for writing, the first two cache lines of what may be written to `to`, of which nothing is believed. The offset is below
    /// 4 GiB, then.
    #[inline(always)]
    fn prefetch(self, to: u64) {
        prefetch_for_write(self.to.wrapping_add(low32(to) as usize));
    }

    /// A frame that starts at `offset`; `None` if less than the longest is left behind it.
    #[inline(always)]
    pub fn at(self, offset: u32) -> Option<Frame<'m>> {
        (u64::from(offset) <= self.last_from).then_some(Frame { transfer: self, offset: offset as usize })
    }
}

impl Frame<'_> {
    /// Writes [`sluice_abi::net::PLAIN_HDR`] and the frame, of [`crate::LINE`] bytes, to offset `to`; `None`, and nothing is written, if less than
    /// header and longest frame is left behind `to`. While the processor guesses, that is below 4 GiB.
    #[inline(always)]
    pub fn put_line(self, to: u64, Headed(lanes): Headed<impl Lanes>) -> Option<()> {
        let transfer = self.transfer;
        if to > transfer.last_to {
            return None;
        }
        // SAFETY: offset + LINE <= last_from + longest <= the run's length, checked by Transfer::at. The target: to is below 4 GiB, so
        // low32 leaves it; to + header + LINE <= last_to + header + longest <= the run's length. Transfer::new saw to it that LINE is at
        // most the longest.
        unsafe { lanes.line(transfer.to, low32(to) as usize, transfer.from, self.offset) };
        Some(())
    }

    /// The same for a frame of `excess`: `None`, too, if that is the length of none, or of one of less than 32 bytes or more than the longest.
    /// `next` says where the buffer will be that is worth fetching while a long frame is copied.
    #[inline(always)]
    pub fn put(self, excess: Excess, to: u64, Headed(lanes): Headed<impl Lanes>, next: impl Upcoming) -> Option<()> {
        let (transfer, excess) = (self.transfer, excess.0);
        if to > transfer.last_to {
            return None;
        }
        // SAFETY: as in put_line, as each class is of lengths that are at most the longest. In each, the modulus leaves the excess
        // as it is; the registers from both ends cover a frame of the class and do not go beyond it.
        unsafe {
            let (from, to) = (transfer.from.add(self.offset), transfer.to.add(low32(to) as usize));
            match against::<UP_TO_128>(excess) {
                Ordering::Equal => lanes.headed_ends::<2, BIAS>(to, from, modulo::<64>(excess as usize)),
                Ordering::Less => {
                    let len = excess.wrapping_add(Excess::BIAS);
                    if len.wrapping_sub(SHORTEST) >= Excess::BIAS - SHORTEST {
                        return None;
                    }
                    lanes.headed_ends::<1, 0>(to, from, modulo::<128>(len as usize));
                }
                _ if excess <= UP_TO_256 => lanes.headed_ends::<4, BIAS>(to, from, modulo::<256>(excess as usize)),
                _ if excess <= UP_TO_512 => {
                    // Out of the way of shorter frames, to which a jump is more.
                    cold_path();
                    lanes.headed_ends::<8, BIAS>(to, from, modulo::<512>(excess as usize));
                }
                _ if excess <= transfer.most => {
                    cold_path();
                    if let Some(next) = next.offset() {
                        transfer.prefetch(next);
                    }
                    lanes.headed_long(to, from, low16(excess) + BIAS);
                }
                _ => return None,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::{Avx, Words};
    use sluice_abi::net::PLAIN_HDR;
    use std::vec::Vec;

    /// For the peer whose packets have this second word, without a length.
    const PEER: u32 = 3 << 16;
    const NOTHING: Nothing = Nothing;

    #[derive(Clone, Copy)]
    struct Nothing;

    impl Upcoming for Nothing {
        fn offset(self) -> Option<u64> {
            None
        }
    }

    /// Anywhere: it is fetched, or not, and nothing else becomes of it.
    impl Upcoming for u64 {
        fn offset(self) -> Option<u64> {
            Some(self)
        }
    }

    fn excess(len: u32) -> Excess {
        Excess::of(PEER | len, Bias::of(PEER))
    }

    /// An interpreter takes its time.
    const STEP: usize = if cfg!(miri) { 61 } else { 1 };
    const EDGES: [u32; 16] = [32, 33, 63, 64, 65, 66, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1514];
    const LONGEST: u32 = 1600;

    fn every_length(lanes: impl Lanes) {
        let lanes = || lanes.headed();
        let mut from: Vec<u8> = (0..=250).cycle().take(50 + LONGEST as usize + 7).collect();
        let mut to = std::vec![0xa5u8; 200 + LONGEST as usize];
        let (source, target) = (PeerSlice::from_mut(&mut from), PeerSlice::from_mut(&mut to));
        let way = Transfer::new(source, target, LONGEST as u16).unwrap();
        for len in (SHORTEST as u32..=LONGEST).step_by(STEP).chain(EDGES).chain([LONGEST]) {
            for at in [88, 101] {
                target.copy_from_slice(0, &std::vec![0xa5; target.len() as usize]).unwrap();
                assert_eq!(excess(len).total(), 12 + len);
                assert_eq!(
                    way.at(51).unwrap().put(excess(len), at, lanes(), u64::from(len) << 33),
                    Some(()),
                    "{len} bytes"
                );
                lanes().scrub();
                let (start, end) = (at as usize + 12, at as usize + 12 + len as usize);
                let (mut sent, mut arrived) =
                    (std::vec![0; source.len() as usize], std::vec![0; target.len() as usize]);
                source.copy_to_slice(0, &mut sent).unwrap();
                target.copy_to_slice(0, &mut arrived).unwrap();
                assert_eq!(arrived[at as usize..start], PLAIN_HDR, "{len} bytes");
                assert_eq!(arrived[start..end], sent[51..51 + len as usize], "{len} bytes");
                let around = arrived[..at as usize].iter().chain(&arrived[end..]);
                assert!(around.into_iter().all(|&byte| byte == 0xa5), "{len} bytes");
            }
        }
        target.copy_from_slice(0, &std::vec![0xa5; target.len() as usize]).unwrap();
        assert_eq!(way.at(51).unwrap().put_line(88, lanes()), Some(()));
        lanes().scrub();
        let mut arrived = std::vec![0; 200];
        target.copy_to_slice(0, &mut arrived).unwrap();
        assert_eq!((&arrived[88..100], &arrived[100..164]), (&PLAIN_HDR[..], &from[51..115]));
        assert!(arrived[..88].iter().chain(&arrived[164..]).all(|&byte| byte == 0xa5));
    }

    #[test]
    fn every_frame_arrives_behind_its_header_and_nothing_else_is_written() {
        every_length(Words);
        if let Some(vectors) = Avx::detect() {
            every_length(vectors);
        }
    }

    #[test]
    fn what_could_leave_either_run_is_refused() {
        let (mut from, mut to) = (std::vec![1u8; 650], std::vec![0u8; 700]);
        let way = Transfer::new(PeerSlice::from_mut(&mut from), PeerSlice::from_mut(&mut to), 600).unwrap();
        for offset in [51, u32::MAX] {
            assert!(way.at(offset).is_none());
        }
        let frame = way.at(50).unwrap();
        for offset in [89, 700, 1 << 32, u64::MAX] {
            assert!(frame.put(excess(64), offset, Words.headed(), NOTHING).is_none());
            assert!(frame.put_line(offset, Words.headed()).is_none());
        }
        assert!([651, 511].iter().all(|&longest| {
            Transfer::new(PeerSlice::from_mut(&mut from), PeerSlice::from_mut(&mut to), longest).is_none()
        }));
        assert!(Transfer::new(PeerSlice::from_mut(&mut to), PeerSlice::from_mut(&mut from), 639).is_none());
        assert!(to.iter().all(|&byte| byte == 0));
        let (mut shorter, mut too_short) = ([0u8; 612], [0u8; 611]);
        let way = Transfer::new(PeerSlice::from_mut(&mut from), PeerSlice::from_mut(&mut shorter), 600).unwrap();
        assert!(way.into_run(PeerSlice::from_mut(&mut too_short)).is_none());
        let way = way.into_run(PeerSlice::from_mut(&mut to)).unwrap();
        assert!(way.at(50).unwrap().put(excess(64), 89, Words.headed(), NOTHING).is_none());
        assert!(way.at(50).unwrap().put(excess(64), 88, Words.headed(), NOTHING).is_some());
    }

    #[test]
    fn another_peer_and_other_lengths_are_refused() {
        let (mut from, mut to) = (std::vec![1u8; 650], std::vec![0u8; 700]);
        let to = PeerSlice::from_mut(&mut to);
        let frame = Transfer::new(PeerSlice::from_mut(&mut from), to, 600).unwrap().at(0).unwrap();
        let fits = |word: u32| frame.put(Excess::of(word, Bias::of(PEER)), 0, Words.headed(), NOTHING).is_some();
        let to_is_zero = || (0..700).all(|at| to.read(at) == Ok(0u8));
        for len in [0, 1, 31, 601, 0xffff] {
            assert!(!fits(PEER | len), "{len} bytes");
        }
        for peer in [0, 2 << 16, 4 << 16, 0x0103 << 16, 0x8003 << 16, 0xffff << 16] {
            for len in [0, 31, 32, 64, 65, 128, 129, 600, 0xffdf, 0xffff] {
                assert!(!fits(peer | len) && to_is_zero(), "{len} bytes for {peer:x}");
            }
        }
        assert!(fits(PEER | 32) && fits(PEER | 600));
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
        let mut from = std::vec![7u8; 650];
        let frame = Transfer::new(PeerSlice::from_mut(&mut from), to, 600).unwrap().at(0).unwrap();
        let last = (1 << 32) - 600 - u64::from(HDR_LEN);
        assert_eq!(
            [last, last + 1, 1 << 32, len - 612].map(|at| frame.put_line(at, Words.headed())),
            [Some(()), None, None, None]
        );
        assert_eq!([last + 1, 1 << 32].map(|at| frame.put(excess(600), at, Words.headed(), NOTHING)), [None; 2]);
        assert_eq!((to.read(0), to.read(last + 12)), (Ok(0u64), Ok(0x0707_0707_0707_0707u64)));
    }
}
