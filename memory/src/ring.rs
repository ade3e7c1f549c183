//! Virtqueue areas in shared memory.
#![allow(unsafe_code, reason = "touches shared memory within bounds that PeerSlice checked")]

use crate::Plain;
use crate::word::is_writable;
use core::cell::Cell;
use core::marker::PhantomData;
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

impl Cell16<'_> {
    /// # Safety
    /// `at` is aligned, and the bytes are as [`crate::PeerSlice::from_raw`] wants them.
    pub(crate) unsafe fn new(at: *mut u16) -> Self {
        Self { at, memory: PhantomData }
    }

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

impl Table<'_, packed::Desc> {
    fn word(&self, slot: u16) -> Option<&AtomicU64> {
        let word = self.base.wrapping_add(usize::from(slot)).cast::<u64>().wrapping_add(1);
        // SAFETY: slot is below the count that PeerSlice::table checked, so this is the second half of a descriptor; 8-byte
        // aligned; shared memory is only touched atomically or volatilely.
        (slot < self.count).then(|| unsafe { AtomicU64::from_ptr(word) })
    }

    /// The last word of the descriptor in `slot`: length, id, flags; everything its writer wrote before it is seen after it.
    #[inline(always)]
    pub fn load_acquire(&self, slot: u16) -> Option<u64> {
        Some(self.word(slot)?.load(Ordering::Acquire))
    }

    /// Where the buffer of the descriptor in `slot` is, read once.
    #[inline(always)]
    pub fn addr(&self, slot: u16) -> Option<Gpa> {
        let desc = self.base.wrapping_add(usize::from(slot));
        // SAFETY: as in word; any bits are valid.
        (slot < self.count).then(|| unsafe { (&raw const (*desc).addr).read_volatile() })
    }

    /// Writes where the buffer of the descriptor in `slot` is. Nothing outside the ring.
    #[inline(always)]
    pub fn set_addr(&self, slot: u16, addr: Gpa) {
        if slot < self.count {
            // SAFETY: slot is below the count that PeerSlice::table checked; aligned.
            unsafe { (&raw mut (*self.base.add(usize::from(slot))).addr).write_volatile(addr) };
        }
    }

    /// Writes the last word of the descriptor in `slot`; whoever sees it sees everything written before it. Nothing outside the ring.
    #[inline(always)]
    pub fn store_release(&self, slot: u16, word: u64) {
        if let Some(place) = self.word(slot) {
            place.store(word, Ordering::Release);
        }
    }

    /// Writes the last words of the descriptors from `slot` on, the first one last; whoever sees one sees everything written before
    /// it. Nothing outside the ring.
    #[inline(always)]
    pub fn store_release_all(&self, slot: u16, words: &[Cell<u64>]) {
        let room = usize::from(self.count.saturating_sub(slot));
        let words = words.get(..words.len().min(room)).unwrap_or_default();
        // SAFETY: slot + the index of a word is below the count that PeerSlice::table checked; the rest as in word.
        let store = |at: usize, word: &Cell<u64>| unsafe {
            let desc = self.base.wrapping_add(usize::from(slot) + at).cast::<u64>();
            AtomicU64::from_ptr(desc.wrapping_add(1)).store(word.get(), Ordering::Release);
        };
        // Several a turn, as the compiler unrolls no loop of atomic accesses.
        let (turns, rest) = words.as_chunks::<8>();
        rest.iter().enumerate().rev().for_each(|(at, word)| store(8 * turns.len() + at, word));
        for (turn, words) in turns.iter().enumerate().rev() {
            for at in (0..8).rev() {
                store(8 * turn + at, &words[at]);
            }
        }
    }

    /// The same, but where a word is `skip` nothing is written.
    #[inline(always)]
    pub fn store_release_some(&self, slot: u16, words: &[Cell<u64>], skip: u64) {
        for (at, word) in words.iter().enumerate().rev().filter(|(_, word)| word.get() != skip) {
            if let Some(slot) = u16::try_from(at).ok().and_then(|at| slot.checked_add(at)) {
                self.store_release(slot, word.get());
            }
        }
    }
}

/// Elements indexed by a free-running index: always in bounds, by mask.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'m, T> {
    pub(crate) base: *mut T,
    /// The size, a power of two, less 1.
    pub(crate) mask: usize,
    memory: PhantomData<&'m ()>,
}

impl<'m, T: Plain> Ring<'m, T> {
    /// The ring that `table` is, if its size is a power of two.
    pub(crate) fn new(table: Table<'m, T>) -> Option<Self> {
        let Table { base, count, memory } = table;
        count.is_power_of_two().then_some(Self { base, mask: usize::from(count) - 1, memory })
    }

    /// Number of elements.
    #[inline(always)]
    pub const fn size(&self) -> u16 {
        self.mask as u16 + 1
    }

    /// The element at `index` modulo the size.
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
    /// Writes the descriptor at `index` modulo the size by two words: a structure would be put together in memory by narrow stores, and a wide
    /// load right behind these waits for all of them.
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

impl Table<'_, u64> {
    fn atomic(&self, index: usize) -> Option<&AtomicU64> {
        // SAFETY: index is below the count that PeerSlice::table checked; aligned; shared memory is only touched atomically or volatilely.
        (index < self.count.into()).then(|| unsafe { AtomicU64::from_ptr(self.base.add(index)) })
    }

    /// The word at `index`, in no order with others; `None` at or beyond the size.
    #[inline(always)]
    pub(crate) fn load_relaxed(&self, index: usize) -> Option<u64> {
        Some(self.atomic(index)?.load(Ordering::Relaxed))
    }

    /// Writes the word at `index`, in no order with others. Nothing outside the table.
    pub(crate) fn store_relaxed(&self, index: usize, word: u64) {
        if let Some(place) = self.atomic(index) {
            place.store(word, Ordering::Relaxed);
        }
    }
}

impl<'m> Table<'m, Desc> {
    /// The descriptor at `index`, to be read field by field; `None` at or beyond the size.
    #[inline(always)]
    pub fn buffer(&self, index: u16) -> Option<Buffer<'m>> {
        let at = usize::from(index) * size_of::<Desc>();
        (index < self.count).then_some(Buffer { table: self.base, at, memory: PhantomData })
    }
}

/// A descriptor that its driver may be changing: each field is read once by each call.
#[derive(Clone, Copy, Debug)]
pub struct Buffer<'m> {
    table: *const Desc,
    /// Bytes from the start of the table.
    at: usize,
    memory: PhantomData<&'m ()>,
}

impl Buffer<'_> {
    /// Whether it is one piece for the device to write, of at least `len` bytes. `ONE_LINE`: these are a header and [`crate::LINE`] bytes.
    #[inline(always)]
    pub fn is_writable<const ONE_LINE: bool>(&self, len: u32) -> bool {
        // SAFETY: Table::buffer checked the bounds; aligned, as the table is.
        unsafe { is_writable::<ONE_LINE, 1>(self.table, self.at, len) }
    }

    /// Where it is.
    #[inline(always)]
    pub fn addr(&self) -> Gpa {
        // SAFETY: as in is_writable; any bits are valid.
        unsafe { (&raw const (*self.table.byte_add(self.at)).addr).read_volatile() }
    }
}

impl<'m> Table<'m, Packet> {
    /// Those from `index` on; none at or beyond the size.
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

    /// Length of the packet at `index` (15:0), its peer (23:16) and flags (31:24), read once.
    #[inline(always)]
    pub fn len_and_peer(&self, index: u16) -> Option<u32> {
        // SAFETY: as in get; the second half of a packet.
        (index < self.count)
            .then(|| unsafe { self.base.add(usize::from(index)).cast::<u32>().wrapping_add(1).read_volatile() })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::PeerSlice;

    #[test]
    fn a_buffer_is_writable_where_flags_and_length_say_so() {
        let mut words = std::vec![0u64; 4];
        let all = PeerSlice::from_mut(&mut words);
        let table = all.table::<Desc>(0, 2).unwrap();
        for (flags, len, writable) in
            [(2, 76, true), (2, 75, false), (3, 76, false), (0, 76, false), (2, u32::MAX, true)]
        {
            all.write(16, Desc { addr: Gpa(9), len, flags, next: 0xffff }).unwrap();
            let buffer = table.buffer(1).unwrap();
            assert_eq!((buffer.is_writable::<false>(76), buffer.addr()), (writable, Gpa(9)));
            assert_eq!(buffer.is_writable::<true>(76), writable);
        }
        assert!(table.buffer(2).is_none() && table.buffer(u16::MAX).is_none());
    }

    #[test]
    fn an_index_of_32_bits_is_the_same_modulo_the_size() {
        let mut words = std::vec![0u64; 4];
        let ring = PeerSlice::from_mut(&mut words).ring::<u32>(0, 8).unwrap();
        ring.set(0x8000_0003_u32, 7);
        ring.set(4_u16, 9);
        assert_eq!((ring.get(3_u16), ring.get(u32::MAX - 4), ring.get(0xffff_fffc_u32)), (7, 7, 9));
    }

    #[test]
    fn a_descriptor_written_by_words_is_the_same() {
        let mut words = std::vec![0u64; 4];
        let all = PeerSlice::from_mut(&mut words);
        all.ring::<Desc>(0, 2).unwrap().set_words(3, Gpa(0x1234_5678_9abc), 7, 3, 0xfffe);
        let desc = Desc { addr: Gpa(0x1234_5678_9abc), len: 7, flags: 3, next: 0xfffe };
        assert_eq!((all.table::<Desc>(0, 2).unwrap().get(1), all.read(0)), (Some(desc), Ok(0u64)));
        let slots = all.table::<packed::Desc>(0, 2).unwrap();
        slots.set_addr(0, Gpa(5));
        slots.set_addr(2, Gpa(6));
        assert_eq!((slots.addr(0), slots.addr(1)), (Some(Gpa(5)), Some(desc.addr)));
    }
}
