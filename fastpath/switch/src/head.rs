//! The first bytes of a frame, in private memory.

use crate::action::Cause;
use crate::parse::HEAD;
use core::fmt;
use core::mem::replace;
use sluice::{Frame, FrameMut};
use sluice_memory::{OutOfRegion, SHORT};

/// Room for headers that actions add: a network service header with its Ethernet header, and six tags.
const ROOM: usize = 64;
/// Bytes of the two addresses of an Ethernet header.
pub const ADDRESSES: usize = 12;

const _: () = assert!(HEAD <= SHORT);

/// The first [`HEAD`] bytes of a frame, as one copy has them. Packet memory is shared: what is parsed, and what actions
/// change, is read once and written once.
pub struct Head {
    bytes: [u8; ROOM + HEAD],
    /// Where the frame starts, and where the copy ends.
    start: usize,
    end: usize,
}

impl Head {
    /// A head without bytes.
    pub const EMPTY: Self = Self { bytes: [0; ROOM + HEAD], start: ROOM, end: ROOM };

    /// Copies the first bytes of `frame`.
    #[inline]
    pub fn load(&mut self, frame: &Frame<'_>) {
        let len = usize::from(frame.len()).min(HEAD);
        let copied = frame.bytes().read_short(0, &mut self.bytes[ROOM..ROOM + len]).is_ok();
        self.start = ROOM;
        self.end = ROOM + if copied { len } else { 0 };
    }

    /// Returns the bytes.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns the `N` bytes at `at`.
    #[inline(always)]
    pub(crate) fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.read_from(self.start + at)
    }

    #[inline(always)]
    fn read_from<const N: usize>(&self, from: usize) -> Option<[u8; N]> {
        let bytes = self.bytes.get(from..from + N).filter(|_| from + N <= self.end)?;
        bytes.first_chunk().copied()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.bytes()).finish()
    }
}

/// A head while actions change it. The frame is as it was until [`Draft::store`].
pub(crate) struct Draft<'h> {
    head: &'h mut Head,
    /// Where the frame starts by now, and where it started.
    pub start: usize,
    pub origin: usize,
    /// Where what was changed starts and ends; nothing was, where it ends before it starts.
    from: usize,
    to: usize,
}

impl<'h> Draft<'h> {
    #[inline(always)]
    pub fn of(head: &'h mut Head) -> Self {
        let start = head.start;
        Self { head, start, origin: start, from: usize::MAX, to: 0 }
    }

    /// Returns the `N` bytes at `at`.
    #[inline(always)]
    pub fn read<const N: usize>(&self, at: usize) -> Result<[u8; N], Cause> {
        self.head.read_from(self.start + at).ok_or(Cause::Unfit)
    }

    /// Writes `new` over the bytes at `at`, and returns those.
    #[inline(always)]
    pub fn exchange<const N: usize>(&mut self, at: usize, new: &[u8; N]) -> Result<[u8; N], Cause> {
        let from = self.start + at;
        let is_inside = from + N <= self.head.end;
        let bytes = self.head.bytes.get_mut(from..from + N).filter(|_| is_inside);
        let bytes = bytes.and_then(|bytes| bytes.first_chunk_mut()).ok_or(Cause::Unfit)?;
        (self.from, self.to) = (self.from.min(from), self.to.max(from + N));
        Ok(replace(bytes, *new))
    }

    /// Adds `len` bytes in front.
    pub fn grow(&mut self, len: usize) -> Result<(), Cause> {
        self.start = self.start.checked_sub(len).ok_or(Cause::NoRoom)?;
        Ok(())
    }

    /// Takes `len` bytes away in front.
    pub fn shrink(&mut self, len: usize) -> Result<(), Cause> {
        self.start += len;
        self.from = self.from.max(self.start);
        if self.start > self.head.end { Err(Cause::Unfit) } else { Ok(()) }
    }

    /// Writes what was changed to the frame.
    pub fn store(self, frame: &mut FrameMut<'_>) -> Result<(), Cause> {
        match self.origin.checked_sub(self.start) {
            Some(0) => {}
            Some(more) => frame.prepend(more as u16)?,
            None => frame.trim_front((self.start - self.origin) as u16)?,
        }
        self.head.start = self.start;
        let Some(changed) = self.head.bytes.get(self.from..self.to) else { return Ok(()) };
        let (bytes, at) = (frame.bytes(), (self.from - self.start) as u64);
        match changed.len() {
            ..=SHORT => bytes.write_short(at, changed)?,
            _ => bytes.copy_from_slice(at, changed)?,
        }
        Ok(())
    }
}

/// Changes of a head that are kept in registers: a wide load right behind narrow stores waits for all of them.
pub(crate) struct Sketch {
    /// Bytes 0 to 7, and 8 to 11: the two addresses of the outer Ethernet header. Nothing, if they stay.
    low: u64,
    high: u32,
    has_addresses: bool,
    /// Four bytes, and where they are. Nothing, if they stay.
    four: [u8; 4],
    place: Option<usize>,
}

impl Sketch {
    const LOW: u64 = (1 << 48) - 1;

    /// Returns no changes, of a head that has addresses.
    #[inline(always)]
    pub fn of(head: &Head) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = head.read::<ADDRESSES>(0)?;
        let (low, high) = (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes([i, j, k, l]));
        Some(Self { low, high, has_addresses: false, four: [0; 4], place: None })
    }

    /// Sets the destination to the low 48 bits of `address`, the first byte in the lowest ones.
    #[inline(always)]
    pub fn set_destination(&mut self, address: u64) {
        (self.low, self.has_addresses) = (self.low & !Self::LOW | address & Self::LOW, true);
    }

    /// Sets the source, as [`Sketch::set_destination`] does.
    #[inline(always)]
    pub fn set_source(&mut self, address: u64) {
        (self.low, self.high) = (self.low & Self::LOW | address << 48, (address >> 16) as u32);
        self.has_addresses = true;
    }

    /// Sets the four bytes at `at`, which are in the head and not of the addresses.
    #[inline(always)]
    pub fn set_four(&mut self, at: usize, four: [u8; 4]) {
        (self.place, self.four) = (Some(at), four);
    }

    /// Makes these changes in the head, too.
    pub fn put(&self, draft: &mut Draft<'_>) -> Result<(), Cause> {
        if let Some(at) = self.place {
            draft.exchange(at, &self.four)?;
        }
        if self.has_addresses {
            let ([a, b, c, d, e, f, g, h], [i, j, k, l]) = (self.low.to_le_bytes(), self.high.to_le_bytes());
            draft.exchange(0, &[a, b, c, d, e, f, g, h, i, j, k, l])?;
        }
        Ok(())
    }

    /// Writes the changes to the frame, and not to the head.
    #[inline(always)]
    pub fn store(self, frame: &FrameMut<'_>) -> Result<(), Cause> {
        let bytes = frame.bytes();
        if let Some(at) = self.place {
            bytes.write_own(at as u64, u32::from_ne_bytes(self.four))?;
        }
        if self.has_addresses {
            bytes.write_own(8, self.high.to_le())?;
            bytes.write_own(0, self.low.to_le())?;
        }
        Ok(())
    }
}

impl From<OutOfRegion> for Cause {
    fn from(_: OutOfRegion) -> Self {
        Self::Unfit
    }
}
