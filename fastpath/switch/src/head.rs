//! The first bytes of a frame, in private memory.

use crate::action::Cause;
use crate::parse::HEAD;
use core::fmt;
use core::mem::replace;
use sluice::{Frame, FrameMut};
use sluice_memory::{OutOfRegion, SHORT, Words};

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
        let copied = frame.bytes().read_short(0, &mut self.bytes[ROOM..ROOM + len], Words).is_ok();
        self.start = ROOM;
        self.end = ROOM + if copied { len } else { 0 };
    }

    /// Returns the bytes.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns whether the frame has both addresses of an Ethernet header.
    #[inline(always)]
    pub(crate) const fn has_addresses(&self) -> bool {
        self.start + ADDRESSES <= self.end
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
            ..=SHORT => bytes.write_short(at, changed, Words)?,
            _ => bytes.copy_from_slice(at, changed)?,
        }
        Ok(())
    }
}

/// Changes of a head that are kept in registers: a wide load right behind narrow stores waits for all of them. What
/// stays is `None`.
pub(crate) struct Sketch {
    /// Destination and source address of the outer Ethernet header in the low 48 bits, the first byte in the lowest.
    pub destination: Option<u64>,
    pub source: Option<u64>,
    /// Four bytes of another header, and where they are.
    pub four: Option<(usize, [u8; 4])>,
}

impl Sketch {
    /// The bits of an address.
    const ADDRESS: u64 = (1 << 48) - 1;

    /// Writes the changes to the frame, and not to the head.
    #[inline(always)]
    pub fn store(self, frame: &FrameMut<'_>) -> Result<(), Cause> {
        let bytes = frame.bytes();
        match (self.destination, self.source) {
            (Some(to), Some(from)) => {
                bytes.write_own(8, ((from >> 16) as u32).to_le())?;
                bytes.write_own(0, (to & Self::ADDRESS | from << 48).to_le())?;
            }
            (Some(address), None) => {
                bytes.write_own(4, ((address >> 32) as u16).to_le())?;
                bytes.write_own(0, (address as u32).to_le())?;
            }
            (None, Some(address)) => {
                bytes.write_own(10, ((address >> 32) as u16).to_le())?;
                bytes.write_own(6, (address as u32).to_le())?;
            }
            (None, None) => {}
        }
        if let Some((at, four)) = self.four {
            bytes.write_own(at as u64, u32::from_ne_bytes(four))?;
        }
        Ok(())
    }
}

impl From<OutOfRegion> for Cause {
    fn from(_: OutOfRegion) -> Self {
        Self::Unfit
    }
}
