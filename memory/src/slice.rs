//! Checked runs of shared memory and the accesses they allow.

use crate::lanes::SHORT;
use crate::lanes::sealed::Lanes as _;
use crate::word::zero_if_above;
use crate::{CacheLine, Cell16, Lanes, OutOfRegion, Ring, Table, Words};
use core::marker::PhantomData;
use core::slice;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use sluice_abi::Gpa;
use zerocopy::{FromBytes, IntoBytes};

/// A value without padding, of which every bit pattern is valid, and which is read and written whole.
pub trait Plain: FromBytes + IntoBytes + Copy {}

impl<T: FromBytes + IntoBytes + Copy> Plain for T {}

/// A run of shared memory whose bounds were checked when it was made.
///
/// Anyone who shares the memory may write it at any time.
#[derive(Clone, Copy, Debug)]
pub struct PeerSlice<'m> {
    base: *mut u8,
    len: u64,
    memory: PhantomData<&'m ()>,
}

// SAFETY: for all of `'m` the bytes are at the same addresses in each thread. Whatever another thread does to them,
// whoever shares them may do at any time: nothing here believes anything of them.
#[allow(unsafe_code, reason = "a run may be used in a thread that did not make it")]
unsafe impl Send for PeerSlice<'_> {}

#[allow(
    unsafe_code,
    reason = "the one place where shared memory is touched; every block relies on the contract of from_raw"
)]
impl<'m> PeerSlice<'m> {
    /// Returns the `len` bytes at `base`.
    ///
    /// # Safety
    /// For all of `'m` the bytes are mapped, readable and writable, or an access to them ends the program. They do not
    /// wrap around the address space, and no Rust reference to any of them is in use. They may change at any time.
    pub const unsafe fn from_raw(base: *mut u8, len: u64) -> Self {
        Self { base, len, memory: PhantomData }
    }

    /// Returns `values` as memory that may be shared with a peer for all of `'m`. The borrow keeps everybody else from
    /// a reference to them.
    pub fn from_mut<T: Plain>(values: &'m mut [T]) -> Self {
        let bytes = values.as_mut_bytes();
        // SAFETY: the bytes are borrowed exclusively for all of `'m`, and every pattern of them is a valid `T`
        // afterwards.
        unsafe { Self::from_raw(bytes.as_mut_ptr(), bytes.len() as u64) }
    }

    /// Returns the length in bytes.
    #[inline(always)]
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Returns whether the run has no bytes.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Returns the address of the first byte, for handing to a device or another mapping.
    pub const fn as_ptr(self) -> *mut u8 {
        self.base
    }

    /// Returns `len` bytes from `offset`, both of which somebody else may have chosen. While the processor speculates
    /// that the check passes, a length or an offset that is too large is 0, so nothing outside the run is read.
    #[inline(always)]
    pub fn sub(self, offset: u64, len: u64) -> Result<PeerSlice<'m>, OutOfRegion> {
        if len > self.len || offset > last_offset(self.len, len) {
            return Err(OutOfRegion { at: Gpa(offset), len });
        }
        let len = zero_if_above(len, self.len);
        let offset = zero_if_above(offset, last_offset(self.len, len));
        // SAFETY: offset + len <= self.len, so the part is inside the run that from_raw vouched for.
        Ok(Self { base: unsafe { self.base.add(offset as usize) }, len, memory: PhantomData })
    }

    /// Returns the address of `offset`, if `len` bytes are there. Both numbers are the caller's own, or bounded by the
    /// caller: speculation is not.
    #[inline(always)]
    fn inside(self, offset: u64, len: u64) -> Option<*mut u8> {
        (offset <= self.len && len <= self.len - offset).then(|| self.base.wrapping_add(offset as usize))
    }

    /// Returns the 16-bit index or flag word at `offset`, or `None` if it is outside or not 2-byte aligned.
    pub fn cell16(self, offset: u64) -> Option<Cell16<'m>> {
        let part = self.sub(offset, 2).ok()?;
        // SAFETY: sub checked the bounds, and the rest is the contract of from_raw.
        part.base.cast::<u16>().is_aligned().then(|| unsafe { Cell16::new(part.base.cast()) })
    }

    /// Returns the 32-bit word at `offset`, such as a futex, or `None` if it is outside or not 4-byte aligned.
    pub fn atomic32(self, offset: u64) -> Option<&'m AtomicU32> {
        let part = self.sub(offset, 4).ok()?;
        // SAFETY: sub checked the bounds, and shared memory is only touched atomically or volatilely.
        part.base.cast::<u32>().is_aligned().then(|| unsafe { AtomicU32::from_ptr(part.base.cast()) })
    }

    /// Returns `count` elements from `offset`, indexed by a free-running index, or `None` if they are outside or not
    /// aligned, or `count` is not a power of two.
    pub fn ring<T: Plain>(self, offset: u64, count: u16) -> Option<Ring<'m, T>> {
        let table = self.table(offset, count)?;
        Ring::new(table)
    }

    /// Returns `count` elements from `offset`, or `None` if they are outside or not aligned.
    #[inline(always)]
    pub fn table<T: Plain>(self, offset: u64, count: u16) -> Option<Table<'m, T>> {
        let base = self.inside(offset, size_of::<T>() as u64 * u64::from(count))?;
        // SAFETY: the bounds of all elements were just checked, and the rest is the contract of from_raw.
        base.cast::<T>().is_aligned().then(|| unsafe { Table::new(base.cast(), count) })
    }

    /// Returns all whole cache lines, or `None` if the first byte is not the first one of a line.
    pub fn lines(self) -> Option<&'m [CacheLine]> {
        let (base, count) = (self.base.cast::<CacheLine>(), self.len as usize / size_of::<CacheLine>());
        // SAFETY: count lines lie within the run that from_raw vouched for; aligned; shared memory is only touched
        // atomically or volatilely.
        base.is_aligned().then(|| unsafe { slice::from_raw_parts(base, count) })
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

    /// Reads a value at `offset`, a number of the caller's own, whatever its alignment. Speculation is not bounded
    /// here.
    #[inline(always)]
    pub fn read_own<T: Plain>(self, offset: u64) -> Result<T, OutOfRegion> {
        let len = size_of::<T>() as u64;
        if self.len.checked_sub(len).is_none_or(|last| offset > last) {
            return Err(OutOfRegion { at: Gpa(offset), len });
        }
        // SAFETY: offset + len <= self.len; the packed wrapper has alignment 1; any bits are a valid T.
        Ok(unsafe { self.base.add(offset as usize).cast::<Unaligned<T>>().read_volatile() }.0)
    }

    /// Writes `value` at `offset`, a number of the caller's own, of any alignment. Speculation is not bounded here.
    #[inline(always)]
    pub fn write_own<T: Plain>(self, offset: u64, value: T) -> Result<(), OutOfRegion> {
        let len = size_of::<T>() as u64;
        let target = self.inside(offset, len).ok_or(OutOfRegion { at: Gpa(offset), len })?;
        // SAFETY: the bounds of the value were just checked; the rest is as in write.
        unsafe { target.cast::<Unaligned<T>>().write_volatile(Unaligned(value)) };
        Ok(())
    }

    /// Copies all of `source` to `offset`. The two may overlap or change meanwhile; then the bytes copied are
    /// unspecified.
    #[inline(always)]
    pub fn copy_from(self, offset: u64, source: PeerSlice<'_>, lanes: impl Lanes) -> Result<(), OutOfRegion> {
        let target = self.sub(offset, source.len)?;
        // SAFETY: both runs are source.len bytes, vouched for by from_raw.
        unsafe { lanes.copy(target.base, source.base, source.len as usize) };
        Ok(())
    }

    /// Sets the bits `bits` of the byte at `offset`. Others may be setting other bits of the same byte.
    pub fn set_bits(self, offset: u64, bits: u8) -> Result<(), OutOfRegion> {
        let part = self.sub(offset, 1)?;
        // SAFETY: sub checked the bounds; a byte is always aligned; shared memory is only touched atomically or
        // volatilely.
        unsafe { AtomicU8::from_ptr(part.base) }.fetch_or(bits, Ordering::Relaxed);
        Ok(())
    }

    /// Copies `bytes` to `offset`.
    pub fn copy_from_slice(self, offset: u64, bytes: &[u8]) -> Result<(), OutOfRegion> {
        self.copy_from_slice_through(offset, bytes, Words)
    }

    /// Copies `bytes` to `offset`, through `lanes`.
    #[inline(always)]
    pub fn copy_from_slice_through(self, offset: u64, bytes: &[u8], lanes: impl Lanes) -> Result<(), OutOfRegion> {
        let len = bytes.len() as u64;
        let target = self.inside(offset, len).ok_or(OutOfRegion { at: Gpa(offset), len })?;
        // SAFETY: target has bytes.len() bytes, and so has the slice; a slice is never shared memory (from_raw).
        unsafe { lanes.copy(target, bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies the bytes at `offset` into all of `bytes`.
    pub fn copy_to_slice(self, offset: u64, bytes: &mut [u8]) -> Result<(), OutOfRegion> {
        let source = self.sub(offset, bytes.len() as u64)?;
        // SAFETY: as in copy_from_slice, with the roles exchanged.
        unsafe { Words.copy(bytes.as_mut_ptr(), source.base, bytes.len()) };
        Ok(())
    }

    /// Copies `bytes`, at most [`SHORT`] of them, to `offset`, by instructions of the caller's own.
    #[inline(always)]
    pub fn write_short(self, offset: u64, bytes: &[u8], lanes: impl Lanes) -> Result<(), OutOfRegion> {
        let target = self.short(offset, bytes.len())?;
        // SAFETY: as in copy_from_slice; the length is within its bound.
        unsafe { lanes.short(target, bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// Copies the bytes at `offset` into all of `bytes`, at most [`SHORT`], by instructions of the caller's own. Both
    /// numbers are the caller's own: speculation is not bounded here.
    #[inline(always)]
    pub fn read_short(self, offset: u64, bytes: &mut [u8], lanes: impl Lanes) -> Result<(), OutOfRegion> {
        let source = self.short(offset, bytes.len())?;
        // SAFETY: as in copy_to_slice; the length is within its bound.
        unsafe { lanes.short(bytes.as_mut_ptr(), source, bytes.len()) };
        Ok(())
    }

    #[inline(always)]
    fn short(self, offset: u64, len: usize) -> Result<*mut u8, OutOfRegion> {
        let len = len as u64;
        self.inside(offset, len).filter(|_| len <= SHORT as u64).ok_or(OutOfRegion { at: Gpa(offset), len })
    }
}

/// Returns the last offset from which `len` bytes are within a run of `run` bytes, where `len` is at most `run`.
///
/// `cargo xtask fuzz --planted` compiles this with the bound check left out, to see that the fuzzer finds it.
#[inline(always)]
const fn last_offset(run: u64, len: u64) -> u64 {
    if cfg!(sluice_planted_bug) { run } else { run - len }
}

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned<T>(T);

#[cfg(test)]
mod tests;
