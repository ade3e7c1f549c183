//! The packets of a request in step with the entries of a virtqueue: the bounds of a burst are checked once.
#![allow(unsafe_code, reason = "touches shared memory within bounds that PeerSlice and Steps checked")]

mod rings;

use crate::word::{available, is_packet, is_writable, opaque};
use crate::{Plain, Table};
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::offset_of;
pub use rings::Rings;
use sluice_abi::call::Packet;
use sluice_abi::virtq::{Desc, UsedElem};
use sluice_abi::{Gpa, packed};

/// Packets of a request, each with its entries in a ring. All pointers lead behind the last element, so that one
/// counter from a negative number up to 0 is the index for each array and the end of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'m, R> {
    packets: *const Packet,
    /// Number of steps: at most that of the packets and that of the ring's entries.
    len: usize,
    ring: R,
    memory: PhantomData<&'m ()>,
}

/// What a ring of some format has for each step.
pub trait Entries {
    /// Units that the counter advances by at each step: an addressing mode can scale by 8, but not by 16.
    const UNITS: usize;
}

/// Entries of the available and of the used ring of a split virtqueue.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    heads: *const u16,
    used: *mut UsedElem,
}

impl Entries for Heads {
    const UNITS: usize = 1;
}

/// Descriptors, and entries of the used ring, of a split virtqueue whose driver uses descriptors in order.
#[derive(Clone, Copy, Debug)]
pub struct InOrder {
    descs: *const Desc,
    /// Index of the descriptor that follows the last one, in units.
    end: usize,
    used: *mut UsedElem,
}

impl Entries for InOrder {
    const UNITS: usize = 2;
}

/// Slots of a packed virtqueue, and what will be written into them.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    descs: *const packed::Desc,
    shadow: *const Cell<u64>,
}

impl Entries for Slots {
    const UNITS: usize = 2;
}

impl<'m, R: Entries> Steps<'m, R> {
    /// Returns the steps for at most `most` packets. `ring` is told their number and returns where each of the ring's
    /// arrays ends behind that many elements, which the ring has.
    #[inline(always)]
    fn new(packets: &Table<'m, Packet>, most: usize, ring: impl FnOnce(usize) -> R) -> Self {
        let len = usize::from(packets.count).min(most);
        let packets = packets.base.wrapping_add(len);
        Self { packets, len, ring: ring(len), memory: PhantomData }
    }

    /// Returns how many steps there are.
    #[inline(always)]
    pub const fn count(&self) -> usize {
        self.len
    }

    /// Returns the first step, or what is behind the last one if there is none.
    #[inline(always)]
    pub fn first(&self) -> Step<'_, R> {
        Step { steps: self, at: (self.len * R::UNITS).wrapping_neg() }
    }
}

/// One of [`Steps`].
#[derive(Clone, Copy, Debug)]
pub struct Step<'s, R> {
    steps: &'s Steps<'s, R>,
    /// Place of this step, counted from the end in units: from less 0 than there are steps, up to 0 without it.
    at: usize,
}

impl<R: Entries> Step<'_, R> {
    /// Returns the field at byte `AT` of this step's element in the array that ends at `end`.
    #[inline(always)]
    fn field<T, F, const AT: usize>(&self, end: *const T) -> *mut F {
        const { assert!(size_of::<T>().is_multiple_of(R::UNITS) && AT + size_of::<F>() <= size_of::<T>()) };
        let element = end.wrapping_byte_add(self.at.wrapping_mul(size_of::<T>() / R::UNITS));
        element.wrapping_byte_add(AT).cast::<F>().cast_mut()
    }

    /// Reads a field of this step's element in the array that ends at `end`, which is one of those of `steps`.
    #[inline(always)]
    fn read<T, F: Plain, const AT: usize>(&self, end: *const T) -> F {
        // SAFETY: each array of the steps has an element for each step, as Steps::new was told, and elements are
        // aligned; any bits are valid.
        unsafe { self.field::<T, F, AT>(end).read_volatile() }
    }

    /// Writes a field of this step's element in the array that ends at `end`, which is one of those of `steps`.
    #[inline(always)]
    fn write<T, F: Plain, const AT: usize>(&self, end: *mut T, value: F) {
        // SAFETY: as in read.
        unsafe { self.field::<T, F, AT>(end).write_volatile(value) };
    }

    /// Goes on to the next step. Returns whether there is one.
    #[inline(always)]
    pub fn advance(&mut self) -> bool {
        let next = self.at.wrapping_add(R::UNITS);
        self.at = opaque(next);
        next != 0
    }

    /// Returns how many steps come before this one.
    #[inline(always)]
    pub fn number(&self) -> usize {
        self.steps.len - self.at.wrapping_neg() / R::UNITS
    }

    /// Returns the step that comes `count` later, if there is one.
    #[inline(always)]
    pub fn ahead(&self, count: usize) -> Option<Self> {
        let at = self.at.wrapping_add(count * R::UNITS);
        // Behind the end the number is not negative.
        ((at as isize) < 0).then_some(Self { steps: self.steps, at })
    }

    /// Returns where the packet starts, read once.
    #[inline(always)]
    pub fn offset(&self) -> u32 {
        self.read::<Packet, u32, { offset_of!(Packet, offset) }>(self.steps.packets)
    }

    /// Returns the packet's length (15:0), peer (23:16) and flags (31:24), read once.
    #[inline(always)]
    pub fn len_and_peer(&self) -> u32 {
        self.read::<Packet, u32, { offset_of!(Packet, len) }>(self.steps.packets)
    }

    /// Returns whether [`Step::len_and_peer`] is `word`.
    #[inline(always)]
    pub fn is(&self, word: u32) -> bool {
        // SAFETY: as in read.
        unsafe { is_packet::<R>(self.steps.packets, self.at, word) }
    }

    #[inline(always)]
    fn set_used(&self, used: *mut UsedElem, id: u32) {
        self.write::<UsedElem, u32, { offset_of!(UsedElem, id) }>(used, id);
    }

    #[inline(always)]
    fn set_written(&self, used: *mut UsedElem, len: u32) {
        self.write::<UsedElem, u32, { offset_of!(UsedElem, len) }>(used, len);
    }
}

impl Step<'_, Heads> {
    /// Returns the entry of the available ring: a descriptor's index, or anything else that the driver wrote.
    #[inline(always)]
    pub fn head(&self) -> u16 {
        self.read::<u16, u16, 0>(self.steps.ring.heads)
    }

    /// Writes which buffer the used ring's entry names.
    #[inline(always)]
    pub fn set_used_id(&self, id: u16) {
        self.set_used(self.steps.ring.used, id.into());
    }

    /// Writes how many bytes the used ring's entry says.
    #[inline(always)]
    pub fn set_used_len(&self, len: u32) {
        self.set_written(self.steps.ring.used, len);
    }
}

impl Step<'_, InOrder> {
    /// Returns whether the descriptor is one piece for the device to write, of at least `len` bytes. `ONE_LINE`: as for
    /// [`crate::Buffer::is_writable`].
    #[inline(always)]
    pub fn is_writable<const ONE_LINE: bool>(&self, len: u32) -> bool {
        // SAFETY: as in read.
        unsafe { is_writable::<ONE_LINE, { size_of::<Desc>() / InOrder::UNITS }>(self.steps.ring.descs, self.at, len) }
    }

    /// Returns where the buffer is.
    #[inline(always)]
    pub fn addr(&self) -> Gpa {
        self.read::<Desc, Gpa, { offset_of!(Desc, addr) }>(self.steps.ring.descs)
    }

    /// Writes that the used ring's entry names this step's buffer.
    #[inline(always)]
    pub fn set_used_id(&self) {
        let index = self.steps.ring.end.wrapping_add(self.at) as u32 / InOrder::UNITS as u32;
        self.set_used(self.steps.ring.used, index);
    }

    /// Writes how many bytes the used ring's entry says.
    #[inline(always)]
    pub fn set_used_len(&self, len: u32) {
        self.set_written(self.steps.ring.used, len);
    }
}

impl Step<'_, Slots> {
    /// Returns the id of the buffer if its descriptor has these flags and a length of at least `len`; each field is
    /// read once. What the driver wrote before the flags is seen after them. `ONE_LINE`: `len` is that of a header and
    /// [`crate::LINE`] bytes.
    #[inline(always)]
    pub fn available<const ONE_LINE: bool>(&self, flags: u16, len: u32) -> Option<u16> {
        // SAFETY: as in read.
        unsafe { available::<ONE_LINE>(self.steps.ring.descs, self.at, flags, len) }
    }

    /// Returns where the buffer is.
    #[inline(always)]
    pub fn addr(&self) -> Gpa {
        self.read::<packed::Desc, Gpa, { offset_of!(packed::Desc, addr) }>(self.steps.ring.descs)
    }

    /// Notes what will be the descriptor's last word, in one store: a load of what two stores wrote waits for both.
    #[inline(always)]
    pub fn note(&self, word: u64) {
        // SAFETY: as in read; the shadow outlives the steps.
        unsafe { &*self.field::<Cell<u64>, Cell<u64>, 0>(self.steps.ring.shadow) }.set(word);
    }
}

#[cfg(test)]
mod tests;
