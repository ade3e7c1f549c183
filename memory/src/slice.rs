//! Checked runs of shared memory and the accesses they allow.

use crate::OutOfRegion;
use crate::copy::{copy, store32, store64, zero_if_above};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU16, Ordering};
use sluice_abi::Gpa;
use sluice_abi::call::Packet;
use sluice_abi::virtq::{Desc, UsedElem};

/// A value of which every bit pattern is valid and which is read and written whole.
///
/// # Implementation safety
/// No padding, no invalid bit pattern, no reference inside.
#[allow(unsafe_code, reason = "the trait states a property the compiler can't check")]
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($t:ty),*) => { $(
        #[allow(unsafe_code, reason = "property of the type")]
        // SAFETY: integers, or `repr(C)` structs of integers without padding (asserted in sluice-abi).
        unsafe impl Plain for $t {}
    )* };
}
plain!(u8, u16, u32, u64, Desc, UsedElem, Packet);

/// A run of shared memory whose bounds were checked when it was made.
///
/// Who may write it: anyone who shares the memory, at any time.
#[derive(Clone, Copy, Debug)]
pub struct PeerSlice<'m> {
    base: *mut u8,
    len: u64,
    memory: PhantomData<&'m ()>,
}

#[allow(
    unsafe_code,
    reason = "the one place where shared memory is touched; every block relies on the contract of from_raw"
)]
impl<'m> PeerSlice<'m> {
    /// The `len` bytes at `base`.
    ///
    /// # Safety
    /// For all of `'m` the bytes are mapped, readable and writable, do not wrap around the address space, and no Rust
    /// reference to any of them is in use. They may change at any time.
    pub const unsafe fn from_raw(base: *mut u8, len: u64) -> Self {
        Self { base, len, memory: PhantomData }
    }

    /// Bytes.
    #[inline(always)]
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// First byte, for handing to a device or another mapping.
    pub const fn as_ptr(self) -> *mut u8 {
        self.base
    }

    /// `len` bytes from `offset`.
    #[inline(always)]
    pub fn sub(self, offset: u64, len: u64) -> Result<PeerSlice<'m>, OutOfRegion> {
        if offset > self.len || len > self.len - offset {
            return Err(OutOfRegion { at: Gpa(offset), len });
        }
        // SAFETY: offset + len <= self.len, so the part is inside the run that from_raw vouched for.
        Ok(Self { base: unsafe { self.base.add(offset as usize) }, len, memory: PhantomData })
    }

    /// As [`PeerSlice::sub`], for an offset that somebody else chose: while the processor guesses that the check passes, the
    /// offset is 0 if it does not, so a guess reads nothing outside the run.
    #[inline(always)]
    pub fn claim(self, offset: u64, len: u64) -> Result<PeerSlice<'m>, OutOfRegion> {
        if len > self.len || offset > self.len - len {
            return Err(OutOfRegion { at: Gpa(offset), len });
        }
        let offset = zero_if_above(offset, self.len - len);
        // SAFETY: offset + len <= self.len was just checked, for this offset.
        Ok(Self { base: unsafe { self.base.add(offset as usize) }, len, memory: PhantomData })
    }

    /// For claiming pieces of at most `longest` bytes; claims nothing if the run is shorter than that.
    #[inline(always)]
    pub fn reach(self, longest: u64) -> Reach<'m> {
        let (last, longest) = self.len.checked_sub(longest).map_or((0, 0), |last| (last, longest));
        Reach { base: self.base, last, longest, memory: PhantomData }
    }

    /// `count` aligned words from `offset`; `None` if they are outside or not aligned.
    #[inline(always)]
    pub fn words(self, offset: u64, count: u64) -> Option<Words<'m>> {
        let part = self.sub(offset, count.checked_mul(size_of::<u64>() as u64)?).ok()?;
        let at = part.base.cast::<u64>().cast_const();
        at.is_aligned().then_some(Words { at, end: at.wrapping_add(count as usize), memory: PhantomData })
    }

    /// Writes the 12 bytes of a header, given as words, to the start of the run, whatever its alignment.
    #[inline(always)]
    pub fn write_header(self, low: u64, high: u32) -> Result<(), OutOfRegion> {
        let part = self.sub(0, 12)?;
        // SAFETY: sub checked the bounds of both.
        unsafe {
            store64(part.base, low);
            store32(part.base.add(8), high);
        }
        Ok(())
    }

    /// The 16-bit index or flag word at `offset`; `None` if it is outside or not 2-byte aligned.
    pub fn cell16(self, offset: u64) -> Option<Cell16<'m>> {
        let part = self.sub(offset, 2).ok()?;
        part.base.cast::<u16>().is_aligned().then_some(Cell16 { at: part.base.cast(), memory: PhantomData })
    }

    /// `count` elements from `offset`, indexed by a free-running index; `None` if they are outside or not aligned, or `count`
    /// is not a power of two.
    pub fn ring<T: Plain>(self, offset: u64, count: u16) -> Option<Ring<'m, T>> {
        let table = self.table(offset, count)?;
        count.is_power_of_two().then_some(Ring { base: table.base, mask: usize::from(count) - 1, memory: PhantomData })
    }

    /// `count` elements from `offset`; `None` if they are outside or not aligned.
    pub fn table<T: Plain>(self, offset: u64, count: u16) -> Option<Table<'m, T>> {
        let part = self.sub(offset, size_of::<T>() as u64 * u64::from(count)).ok()?;
        part.base.cast::<T>().is_aligned().then_some(Table { base: part.base.cast(), count, memory: PhantomData })
    }

    /// Writes `value` at `offset`, whatever its alignment.
    #[inline(always)]
    pub fn write<T: Plain>(self, offset: u64, value: T) -> Result<(), OutOfRegion> {
        let part = self.sub(offset, size_of::<T>() as u64)?;
        // SAFETY: sub checked the bounds; the packed wrapper has alignment 1; T is plain.
        unsafe { part.base.cast::<Unaligned<T>>().write_volatile(Unaligned(value)) };
        Ok(())
    }

    /// Reads a value at `offset`, whatever its alignment.
    #[inline(always)]
    pub fn read<T: Plain>(self, offset: u64) -> Result<T, OutOfRegion> {
        let part = self.sub(offset, size_of::<T>() as u64)?;
        // SAFETY: sub checked the bounds; the packed wrapper has alignment 1; any bits are a valid T.
        Ok(unsafe { part.base.cast::<Unaligned<T>>().read_volatile() }.0)
    }

    /// Copies all of `source` to `offset`. The two may overlap or change meanwhile; then the bytes copied are unspecified.
    #[inline(always)]
    pub fn copy_from(self, offset: u64, source: PeerSlice<'_>) -> Result<(), OutOfRegion> {
        let target = self.sub(offset, source.len)?;
        // SAFETY: both runs are source.len bytes, vouched for by from_raw.
        unsafe { copy(target.base, source.base, source.len as usize) };
        Ok(())
    }

    /// Copies `bytes` to `offset`.
    pub fn copy_from_slice(self, offset: u64, bytes: &[u8]) -> Result<(), OutOfRegion> {
        let target = self.sub(offset, bytes.len() as u64)?;
        // SAFETY: target has bytes.len() bytes, and so has the slice; a slice is never shared memory (from_raw).
        unsafe { copy(target.base, bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies the bytes at `offset` into all of `bytes`.
    pub fn copy_to_slice(self, offset: u64, bytes: &mut [u8]) -> Result<(), OutOfRegion> {
        let source = self.sub(offset, bytes.len() as u64)?;
        // SAFETY: as in copy_from_slice, with the roles exchanged.
        unsafe { copy(bytes.as_mut_ptr(), source.base, bytes.len()) };
        Ok(())
    }
}

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned<T>(T);

/// Words that somebody else may be changing, each read once.
#[derive(Clone, Copy, Debug)]
pub struct Words<'m> {
    at: *const u64,
    end: *const u64,
    memory: PhantomData<&'m ()>,
}

impl Words<'_> {
    /// At most `count` of them.
    #[inline(always)]
    #[must_use]
    pub fn at_most(mut self, count: usize) -> Self {
        self.end = self.at.wrapping_add(count.min(self.left()));
        self
    }

    /// Words not yet read.
    #[inline(always)]
    pub fn left(&self) -> usize {
        (self.end.addr() - self.at.addr()) / size_of::<u64>()
    }
}

#[allow(unsafe_code, reason = "see PeerSlice")]
impl Iterator for Words<'_> {
    type Item = u64;

    #[inline(always)]
    fn next(&mut self) -> Option<u64> {
        if self.at == self.end {
            return None;
        }
        // SAFETY: PeerSlice::words checked that `at` to `end` are aligned words of the run; `at` is before `end`.
        let word = unsafe { self.at.read_volatile() };
        self.at = self.at.wrapping_add(1);
        Some(word)
    }
}

/// A run of which pieces of bounded length are claimed again and again.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'m> {
    base: *mut u8,
    /// Last offset from which `longest` bytes are within the run.
    last: u64,
    longest: u64,
    memory: PhantomData<&'m ()>,
}

#[allow(unsafe_code, reason = "see PeerSlice")]
impl<'m> Reach<'m> {
    /// As [`PeerSlice::claim`], but cheaper, and refused where less than the longest piece is left behind `offset`.
    #[inline(always)]
    pub fn claim(self, offset: u64, len: u64) -> Option<PeerSlice<'m>> {
        if len > self.longest || offset > self.last {
            return None;
        }
        let offset = zero_if_above(offset, self.last);
        // SAFETY: offset + len <= last + longest, which PeerSlice::reach made at most the run's length.
        Some(PeerSlice { base: unsafe { self.base.add(offset as usize) }, len, memory: PhantomData })
    }
}

/// A 16-bit word that both sides use as index or flags.
#[derive(Clone, Copy, Debug)]
pub struct Cell16<'m> {
    at: *mut u16,
    memory: PhantomData<&'m ()>,
}

#[allow(unsafe_code, reason = "see PeerSlice")]
impl Cell16<'_> {
    fn atomic(&self) -> &AtomicU16 {
        // SAFETY: aligned and in bounds since PeerSlice::cell16; shared memory is only touched atomically or volatilely.
        unsafe { AtomicU16::from_ptr(self.at) }
    }

    /// The word; everything its writer wrote before it is seen after it.
    #[inline(always)]
    pub fn load_acquire(&self) -> u16 {
        self.atomic().load(Ordering::Acquire)
    }

    /// Writes the word; whoever sees it sees everything written before it.
    #[inline(always)]
    pub fn store_release(&self, value: u16) {
        self.atomic().store(value, Ordering::Release);
    }
}

/// Elements indexed by a free-running index: always in bounds, by mask.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'m, T> {
    base: *mut T,
    mask: usize,
    memory: PhantomData<&'m ()>,
}

#[allow(unsafe_code, reason = "see PeerSlice")]
impl<T: Plain> Ring<'_, T> {
    /// Number of elements.
    #[inline(always)]
    pub const fn size(&self) -> u16 {
        self.mask as u16 + 1
    }

    /// The element at `index` modulo the size.
    #[inline(always)]
    pub fn get(&self, index: u16) -> T {
        // SAFETY: index & mask is below the count that PeerSlice::ring checked; aligned; any bits are a valid T.
        unsafe { self.base.add(usize::from(index) & self.mask).read_volatile() }
    }

    /// Writes the element at `index` modulo the size.
    #[inline(always)]
    pub fn set(&self, index: u16, value: T) {
        // SAFETY: as in get.
        unsafe { self.base.add(usize::from(index) & self.mask).write_volatile(value) };
    }
}

#[allow(unsafe_code, reason = "see PeerSlice")]
impl Ring<'_, Desc> {
    /// Address, length and flags of the descriptor at `index` modulo the size, each read once; `next` is not.
    #[inline(always)]
    pub fn buffer(&self, index: u16) -> (Gpa, u32, u16) {
        // SAFETY: as in get; each field is a part of the element.
        unsafe {
            let desc = self.base.add(usize::from(index) & self.mask);
            (
                (&raw const (*desc).addr).read_volatile(),
                (&raw const (*desc).len).read_volatile(),
                (&raw const (*desc).flags).read_volatile(),
            )
        }
    }
}

/// Elements indexed by a number that may be wrong.
#[derive(Clone, Copy, Debug)]
pub struct Table<'m, T> {
    base: *mut T,
    count: u16,
    memory: PhantomData<&'m ()>,
}

#[allow(unsafe_code, reason = "see PeerSlice")]
impl<T: Plain> Table<'_, T> {
    /// Number of elements.
    #[inline(always)]
    pub const fn size(&self) -> u16 {
        self.count
    }

    /// The element at `index`, read once; `None` at or beyond the size.
    #[inline(always)]
    pub fn get(&self, index: u16) -> Option<T> {
        // SAFETY: index is below the count that PeerSlice::table checked; aligned; any bits are a valid T.
        (index < self.count).then(|| unsafe { self.base.add(usize::from(index)).read_volatile() })
    }

    /// Writes the element at `index`; `false` at or beyond the size.
    #[inline(always)]
    #[must_use]
    pub fn set(&self, index: u16, value: T) -> bool {
        if index < self.count {
            // SAFETY: as in get.
            unsafe { self.base.add(usize::from(index)).write_volatile(value) };
        }
        index < self.count
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[allow(unsafe_code, reason = "makes test memory")]
    fn memory(words: &mut Vec<u64>) -> PeerSlice<'_> {
        // SAFETY: the vector outlives the slice and is not touched otherwise.
        unsafe { PeerSlice::from_raw(words.as_mut_ptr().cast(), words.len() as u64 * 8) }
    }

    #[test]
    fn a_slice_ends_where_it_ends() {
        let mut words = std::vec![0; 4];
        let all = memory(&mut words);
        assert!(all.sub(32, 0).is_ok());
        assert!(all.sub(33, 0).is_err());
        assert!(all.sub(1, 32).is_err());
        assert!(all.sub(u64::MAX, 2).is_err());
        for (offset, len) in [(0, 32), (32, 0), (31, 1), (33, 0), (1, 32), (u64::MAX, 2), (2, u64::MAX), (0, 33)] {
            assert_eq!(all.claim(offset, len).map(|s| (s.base, s.len)), all.sub(offset, len).map(|s| (s.base, s.len)));
        }
        let reach = all.reach(8);
        assert_eq!(reach.claim(24, 8).map(|s| (s.base, s.len)), all.sub(24, 8).ok().map(|s| (s.base, s.len)));
        assert!(reach.claim(25, 1).is_none() && reach.claim(0, 9).is_none() && all.reach(33).claim(0, 1).is_none());
        assert_eq!(all.words(8, 3).map(|words| (words.left(), words.count())), Some((3, 3)));
        assert!(all.words(8, 4).is_none() && all.words(1, 1).is_none() && all.words(0, u64::MAX).is_none());
        assert!(all.write(25, 0u64).is_err());
        assert!(all.cell16(31).is_none() && all.cell16(1).is_none() && all.cell16(30).is_some());
        assert!(
            all.ring::<u16>(0, 3).is_none() && all.ring::<u16>(0, 16).is_some() && all.ring::<u16>(0, 32).is_none()
        );
        assert!(all.table::<Desc>(0, 3).is_none());
    }

    #[test]
    fn every_length_is_copied_whole_and_no_further() {
        for len in 0..200u64 {
            let mut from: Vec<u64> = (1..40).map(|n| n * 0x0101_0203_0507_0b0d).collect();
            let mut to = std::vec![0; 40];
            memory(&mut to).copy_from(3, memory(&mut from).sub(1, len).unwrap()).unwrap();
            let bytes = |words: &[u64]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
            let (from, to) = (bytes(&from), bytes(&to));
            assert_eq!(to[3..3 + len as usize], from[1..1 + len as usize]);
            assert!(to[..3].iter().chain(&to[3 + len as usize..]).all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_ring_wraps_and_a_table_refuses() {
        let mut words = std::vec![0; 4];
        let all = memory(&mut words);
        let ring = all.ring::<u64>(0, 4).unwrap();
        ring.set(5, 7);
        assert_eq!((ring.get(1), ring.get(65_533)), (7, 7));
        let table = all.table::<u64>(0, 4).unwrap();
        assert_eq!((table.get(1), table.get(4)), (Some(7), None));
        assert!(!table.set(4, 1));
    }
}
