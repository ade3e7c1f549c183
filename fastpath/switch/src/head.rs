//! The first bytes of a frame, in private memory.

use crate::action::Cause;
use crate::parse::HEAD;
use core::fmt;
use sluice::{Frame, FrameMut};

/// Room for headers that actions add: a network service header with its Ethernet header, and six tags.
const ROOM: usize = 64;

/// The first [`HEAD`] bytes of a frame, as one copy has them. Packet memory is shared: what is parsed, and what actions
/// change, is read once and written once.
pub struct Head {
    bytes: [u8; ROOM + HEAD],
    /// Where the frame starts, and where the copy ends.
    start: usize,
    end: usize,
    /// Where what was changed starts and ends; nothing was, where it ends before it starts.
    changed: [usize; 2],
}

impl Head {
    const NOTHING: [usize; 2] = [usize::MAX, 0];
    /// A head without bytes.
    pub const EMPTY: Self = Self { bytes: [0; ROOM + HEAD], start: ROOM, end: ROOM, changed: Self::NOTHING };

    /// Copies the first bytes of `frame`.
    #[inline]
    pub fn load(&mut self, frame: &Frame<'_>) {
        let len = usize::from(frame.len()).min(HEAD);
        let copied = frame.copy_to_slice(0, &mut self.bytes[ROOM..ROOM + len]).is_ok();
        self.start = ROOM;
        self.end = ROOM + if copied { len } else { 0 };
        self.changed = Self::NOTHING;
    }

    /// Returns the bytes.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns the `N` bytes at `at`.
    #[inline(always)]
    pub(crate) fn read<const N: usize>(&self, at: usize) -> Result<[u8; N], Cause> {
        self.bytes().get(at..).and_then(|bytes| bytes.first_chunk()).copied().ok_or(Cause::Unfit)
    }

    /// Writes `new` over the bytes at `at`, and returns those.
    #[inline(always)]
    pub(crate) fn exchange<const N: usize>(&mut self, at: usize, new: &[u8; N]) -> Result<[u8; N], Cause> {
        let from = self.start + at;
        let bytes = self.bytes.get_mut(from..self.end).and_then(|bytes| bytes.first_chunk_mut());
        let bytes = bytes.ok_or(Cause::Unfit)?;
        self.changed = [self.changed[0].min(from), self.changed[1].max(from + N)];
        Ok(core::mem::replace(bytes, *new))
    }

    /// Adds `len` bytes in front of the frame, too.
    pub(crate) fn grow(&mut self, frame: &mut FrameMut<'_>, len: usize) -> Result<(), Cause> {
        self.start = self.start.checked_sub(len).ok_or(Cause::NoRoom)?;
        Ok(frame.prepend(len as u16)?)
    }

    /// Takes `len` bytes away in front of the frame, too.
    pub(crate) fn shrink(&mut self, frame: &mut FrameMut<'_>, len: usize) -> Result<(), Cause> {
        let start = self.start + len;
        if start > self.end {
            return Err(Cause::Unfit);
        }
        frame.trim_front(len as u16)?;
        (self.start, self.changed[0]) = (start, self.changed[0].max(start));
        Ok(())
    }

    /// Writes what was changed to the frame.
    #[inline(always)]
    pub(crate) fn store(&self, frame: &mut FrameMut<'_>) -> Result<(), Cause> {
        let [from, to] = self.changed;
        self.bytes.get(from..to).map_or(Ok(()), |bytes| Ok(frame.set(from - self.start, bytes)?))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.bytes()).finish()
    }
}
