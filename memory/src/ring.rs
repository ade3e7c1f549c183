//! Virtqueue areas in shared memory.
#![allow(unsafe_code, reason = "touches shared memory within bounds that PeerSlice checked")]

use crate::Plain;
use crate::word::is_writable;
use core::marker::PhantomData;
use core::slice;
use core::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use sluice_abi::call::Packet;
use sluice_abi::virtq::Desc;
use sluice_abi::{Gpa, packed};

/// A 16-bit word that both sides use as index or flags.
#[derive(Clone, Copy, Debug)]
pub struct Cell16<'m> {
    at: *mut u16,
    memory: PhantomData<&'m ()>,
}

// SAFETY: as of `PeerSlice`: for all of `'m` the word is at the same address in each thread, which may touch it at any
// time as whoever shares it may.
unsafe impl Send for Cell16<'_> {}

impl Cell16<'_> {
    /// # Safety
    /// `at` is aligned, and the bytes are as [`crate::PeerSlice::from_raw`] wants them.
    pub(crate) unsafe fn new(at: *mut u16) -> Self {
        Self { at, memory: PhantomData }
    }

    fn atomic(&self) -> &AtomicU16 {
        // SAFETY: aligned and in bounds since PeerSlice::cell16; shared memory is only touched atomically or
        // volatilely.
        unsafe { AtomicU16::from_ptr(self.at) }
    }

    /// Returns the word. Everything that its writer wrote before it is seen after it.
    #[inline(always)]
    pub fn load_acquire(&self) -> u16 {
        self.atomic().load(Ordering::Acquire)
    }

    /// Writes the word. Whoever sees it sees everything that was written before it.
    #[inline(always)]
    pub fn store_release(&self, value: u16) {
        self.atomic().store(value, Ordering::Release);
    }
}

/// Elements indexed by a free-running index, which a mask keeps in bounds.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'m, T> {
    pub(crate) base: *mut T,
    /// The number of elements, a power of two, less 1.
    pub(crate) mask: usize,
    memory: PhantomData<&'m ()>,
}

// SAFETY: as of `Cell16`; elements are read and written whole, as plain values.
unsafe impl<T: Plain> Send for Ring<'_, T> {}

impl<'m, T: Plain> Ring<'m, T> {
    /// Returns the ring that `table` is, if its size is a power of two.
    pub(crate) fn new(table: Table<'m, T>) -> Option<Self> {
        let Table { base, count, memory } = table;
        count.is_power_of_two().then_some(Self { base, mask: usize::from(count) - 1, memory })
    }

    /// Number of elements.
    #[inline(always)]
    pub const fn size(&self) -> u16 {
        self.mask as u16 + 1
    }

    /// Returns the element at `index` modulo the size.
    #[inline(always)]
    pub fn get(&self, index: impl Into<u32>) -> T {
        let place = index.into() as usize & self.mask;
        // SAFETY: place is below the count that PeerSlice::ring checked; aligned; any bits are a valid T.
        unsafe { self.base.add(place).read_volatile() }
    }

    /// Writes the element at `index` modulo the size.
    #[inline(always)]
    pub fn set(&self, index: impl Into<u32>, value: T) {
        let place = index.into() as usize & self.mask;
        // SAFETY: as in get.
        unsafe { self.base.add(place).write_volatile(value) };
    }
}

impl Ring<'_, Desc> {
    /// Writes the descriptor at `index` modulo the size by two words. A structure would be put together in memory by
    /// narrow stores, and a wide load right behind these waits for all of them.
    #[inline(always)]
    pub fn set_words(&self, index: u16, addr: Gpa, len: u32, flags: u16, next: u16) {
        let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
        // SAFETY: as in get, and a descriptor is two words, aligned to 8 bytes.
        unsafe {
            let words = self.base.add(usize::from(index) & self.mask).cast::<u64>();
            words.write_volatile(addr.0);
            words.add(1).write_volatile(rest);
        }
    }
}

/// Elements indexed by a number that may be wrong.
#[derive(Clone, Copy, Debug)]
pub struct Table<'m, T> {
    pub(crate) base: *mut T,
    pub(crate) count: u16,
    memory: PhantomData<&'m ()>,
}

impl<T: Plain> Table<'_, T> {
    /// # Safety
    /// `base` is aligned, and the bytes of `count` elements are as [`crate::PeerSlice::from_raw`] wants them.
    pub(crate) unsafe fn new(base: *mut T, count: u16) -> Self {
        Self { base, count, memory: PhantomData }
    }

    /// Number of elements.
    #[inline(always)]
    pub const fn size(&self) -> u16 {
        self.count
    }

    /// Returns the element at `index`, read once, or `None` at or beyond the size.
    #[inline(always)]
    pub fn get(&self, index: u16) -> Option<T> {
        // SAFETY: index is below the count that PeerSlice::table checked; aligned; any bits are a valid T.
        (index < self.count).then(|| unsafe { self.base.add(usize::from(index)).read_volatile() })
    }

    /// Writes the element at `index` and returns `true`, or returns `false` at or beyond the size.
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

impl Table<'_, u64> {
    /// Returns the words, each of which the other side may change at any time.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: PeerSlice::table checked bounds and alignment; shared memory is only touched atomically or
        // volatilely.
        unsafe { slice::from_raw_parts(self.base.cast(), self.count.into()) }
    }
}

impl Table<'_, packed::Desc> {
    /// Returns the descriptors as two words each: the address, and length, id and flags. The other side may change them
    /// at any time.
    #[inline(always)]
    pub(crate) fn words(&self) -> &[[AtomicU64; 2]] {
        const { assert!(size_of::<packed::Desc>() == 16 && align_of::<packed::Desc>() >= align_of::<AtomicU64>()) };
        // SAFETY: PeerSlice::table checked bounds and alignment; shared memory is only touched atomically or
        // volatilely.
        unsafe { slice::from_raw_parts(self.base.cast(), self.count.into()) }
    }
}

impl<'m> Table<'m, Desc> {
    /// Returns the descriptor at `index`, to be read field by field, or `None` at or beyond the size.
    #[inline(always)]
    pub fn buffer(&self, index: u16) -> Option<Buffer<'m>> {
        let at = usize::from(index) * size_of::<Desc>();
        (index < self.count).then_some(Buffer { table: self.base, at, memory: PhantomData })
    }
}

/// A descriptor that its driver may be changing. Each call reads a field once.
#[derive(Clone, Copy, Debug)]
pub struct Buffer<'m> {
    table: *const Desc,
    /// Offset of the descriptor from the start of the table, in bytes.
    at: usize,
    memory: PhantomData<&'m ()>,
}

impl Buffer<'_> {
    /// Returns whether the descriptor is one piece for the device to write, of at least `len` bytes. `ONE_LINE`: `len`
    /// is that of a header and [`crate::LINE`] bytes.
    #[inline(always)]
    pub fn is_writable<const ONE_LINE: bool>(&self, len: u32) -> bool {
        // SAFETY: Table::buffer checked the bounds; aligned, as the table is.
        unsafe { is_writable::<ONE_LINE, 1>(self.table, self.at, len) }
    }

    /// Returns where the buffer is.
    #[inline(always)]
    pub fn addr(&self) -> Gpa {
        // SAFETY: as in is_writable; any bits are valid.
        unsafe { (&raw const (*self.table.byte_add(self.at)).addr).read_volatile() }
    }
}

impl<'m> Table<'m, Packet> {
    /// Returns the packets from `index` on, of which there are none at or beyond the size.
    #[inline(always)]
    pub fn from(&self, index: u16) -> Self {
        let index = index.min(self.count);
        Self { base: self.base.wrapping_add(index.into()), count: self.count - index, memory: PhantomData }
    }

    /// Returns the first `count` packets, or all of them where there are fewer.
    #[inline(always)]
    pub fn first(&self, count: u16) -> Self {
        Self { count: count.min(self.count), ..*self }
    }

    /// Returns length (15:0), peer (23:16) and flags (31:24) of the packet at `index`, read once.
    #[inline(always)]
    pub fn len_and_peer(&self, index: u16) -> Option<u32> {
        // SAFETY: as in get; the second half of a packet.
        (index < self.count)
            .then(|| unsafe { self.base.add(usize::from(index)).cast::<u32>().wrapping_add(1).read_volatile() })
    }
}

#[cfg(test)]
mod tests;
