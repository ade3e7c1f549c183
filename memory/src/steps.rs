//! A request and a virtqueue, one entry of each at a time: the bounds of a burst, checked once.
#![allow(unsafe_code, reason = "touches shared memory within bounds that PeerSlice and Steps checked")]

use crate::word::{available, is_packet, is_writable, opaque};
use crate::{Ring, Table};
use core::cell::Cell;
use core::marker::PhantomData;
use sluice_abi::call::Packet;
use sluice_abi::virtq::{Desc, UsedElem};
use sluice_abi::{Gpa, packed};

/// The available and the used ring of one split virtqueue.
#[derive(Clone, Copy, Debug)]
pub struct Rings<'m> {
    heads: *const u16,
    used: *mut UsedElem,
    mask: usize,
    memory: PhantomData<&'m ()>,
}

impl<'m> Rings<'m> {
    /// The pair of `avail` and `used`; `None` if they differ in size.
    pub fn new(avail: Ring<'m, u16>, used: Ring<'m, UsedElem>) -> Option<Self> {
        let rings = Self { heads: avail.base, used: used.base, mask: avail.mask, memory: PhantomData };
        (avail.mask == used.mask).then_some(rings)
    }

    /// The packets, in step with the rings' entries from `next` on: at most `most`, and not beyond the end of
    /// the rings' arrays.
    #[inline(always)]
    pub fn steps(&self, packets: &Table<'m, Packet>, next: u16, most: u16) -> Steps<'m, Heads> {
        let at = usize::from(next) & self.mask;
        let most = usize::from(most).min(self.mask + 1 - at);
        Steps::new(packets, most, |len| Heads {
            heads: self.heads.wrapping_add(at + len),
            used: self.used.wrapping_add(at + len),
        })
    }

    /// The same for a driver that uses the descriptors of `table` in their order: the first one is named by the available ring, those
    /// that follow it aren't looked up. None if that one is outside the table.
    #[inline(always)]
    pub fn steps_in_order(
        &self,
        table: &Table<'m, Desc>,
        packets: &Table<'m, Packet>,
        next: u16,
        most: u16,
    ) -> Steps<'m, InOrder> {
        let at = usize::from(next) & self.mask;
        let first = self.head(next);
        let descs = usize::from(table.count.saturating_sub(first));
        let most = usize::from(most).min(self.mask + 1 - at).min(descs);
        let first = usize::from(first);
        Steps::new(packets, most, |len| InOrder {
            descs: table.base.wrapping_add(first + len),
            // The compiler would halve both parts of what it knows to be a sum.
            end: opaque((first + len) * InOrder::UNITS),
            used: self.used.wrapping_add(at + len),
        })
    }

    /// The available ring's entry at `index` modulo the size.
    #[inline(always)]
    pub fn head(&self, index: u16) -> u16 {
        // SAFETY: index & mask is below the size of the ring; aligned; any bits are valid.
        unsafe { self.heads.add(usize::from(index) & self.mask).read_volatile() }
    }

    /// Writes the used ring's entry at `index` modulo the size.
    #[inline(always)]
    pub fn set_used(&self, index: u16, element: UsedElem) {
        // SAFETY: as in head.
        unsafe { self.used.add(usize::from(index) & self.mask).write_volatile(element) };
    }
}

/// Packets of a request, each with its entries in a ring. All pointers are to what follows the last one, so that one counter from a negative
/// number up to 0 is the index for each array and the end of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'m, R> {
    packets: *const Packet,
    /// At most as many as there are of packets and of entries in the ring.
    len: usize,
    ring: R,
    memory: PhantomData<&'m ()>,
}

/// What a ring of some format has for each step.
pub trait Entries {
    /// Units that the counter goes on by at each step: an address can have 8 bytes for each, but not 16.
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
    /// `ring` says what follows so many entries.
    #[inline(always)]
    fn new(packets: &Table<'m, Packet>, most: usize, ring: impl FnOnce(usize) -> R) -> Self {
        let len = usize::from(packets.count).min(most);
        let packets = packets.base.wrapping_add(len);
        Self { packets, len, ring: ring(len), memory: PhantomData }
    }

    /// How many.
    #[inline(always)]
    pub const fn count(&self) -> usize {
        self.len
    }

    /// Takes them in order until `work` says that one is not done: how many were.
    #[inline(always)]
    pub fn take_while(&self, work: impl Fn(&Step<'_, R>) -> Option<()>) -> usize {
        let mut at = (self.len * R::UNITS).wrapping_neg();
        while self.len != 0 && work(&Step { steps: self, at }).is_some() {
            let next = at.wrapping_add(R::UNITS);
            at = opaque(next);
            if next == 0 {
                break;
            }
        }
        self.len - at.wrapping_neg() / R::UNITS
    }
}

impl<'m> Steps<'m, Slots> {
    /// The packets, in step with the slots of `ring` from `slot` on and the words of `shadow`: at most as
    /// many as there are of each.
    #[inline(always)]
    pub fn slots(
        ring: &Table<'m, packed::Desc>,
        packets: &Table<'m, Packet>,
        slot: u16,
        shadow: &'m [Cell<u64>],
    ) -> Self {
        let slots = usize::from(ring.count.saturating_sub(slot)).min(shadow.len());
        Self::new(packets, slots, |len| Slots {
            descs: ring.base.wrapping_add(usize::from(slot) + len),
            shadow: shadow.as_ptr().wrapping_add(len),
        })
    }
}

/// One of [`Steps`].
#[derive(Clone, Copy, Debug)]
pub struct Step<'s, R> {
    steps: &'s Steps<'s, R>,
    /// From the end, in units: from less 0 than there are steps, to 0 without it.
    at: usize,
}

impl<R: Entries> Step<'_, R> {
    /// The element of this step in the array that ends at `end`.
    #[inline(always)]
    fn of<T>(&self, end: *const T) -> *const T {
        const { assert!(size_of::<T>().is_multiple_of(R::UNITS)) };
        end.wrapping_byte_add(self.at.wrapping_mul(size_of::<T>() / R::UNITS))
    }

    /// The one that comes `count` later, if it is one of these.
    #[inline(always)]
    pub fn ahead(&self, count: usize) -> Option<Self> {
        let at = self.at.wrapping_add(count * R::UNITS);
        // Behind the end there is a number that is not negative.
        ((at as isize) < 0).then_some(Self { steps: self.steps, at })
    }

    /// Where the packet starts, read once.
    #[inline(always)]
    pub fn offset(&self) -> u32 {
        // SAFETY: the step is one of these, so this is a packet of the table; any bits are valid.
        unsafe { self.of(self.steps.packets).cast::<u32>().read_volatile() }
    }

    /// The packet's length (15:0), peer (23:16) and flags (31:24), read once.
    #[inline(always)]
    pub fn len_and_peer(&self) -> u32 {
        // SAFETY: as in offset.
        unsafe { self.of(self.steps.packets).cast::<u32>().wrapping_add(1).read_volatile() }
    }

    /// Whether that is `word`.
    #[inline(always)]
    pub fn is(&self, word: u32) -> bool {
        // SAFETY: as in offset.
        unsafe { is_packet::<R>(self.steps.packets, self.at, word) }
    }
}

impl Step<'_, Heads> {
    /// The entry of the available ring: a descriptor's index, or anything else that the driver wrote.
    #[inline(always)]
    pub fn head(&self) -> u16 {
        // SAFETY: the step is one of these, so this is an entry of the ring.
        unsafe { self.of(self.steps.ring.heads).read_volatile() }
    }

    /// Writes which buffer the used ring's entry names.
    #[inline(always)]
    pub fn set_used_id(&self, id: u16) {
        // SAFETY: the step is one of these, so this is an entry of the ring; aligned.
        unsafe { (&raw mut (*self.of(self.steps.ring.used).cast_mut()).id).write_volatile(id.into()) };
    }

    /// Writes how many bytes the used ring's entry says.
    #[inline(always)]
    pub fn set_used_len(&self, len: u32) {
        // SAFETY: as in set_used_id.
        unsafe { (&raw mut (*self.of(self.steps.ring.used).cast_mut()).len).write_volatile(len) };
    }
}

impl Step<'_, InOrder> {
    /// Whether the descriptor is one piece for the device to write, of at least `len` bytes. `ONE_LINE`: as for [`crate::Buffer::is_writable`].
    #[inline(always)]
    pub fn is_writable<const ONE_LINE: bool>(&self, len: u32) -> bool {
        // SAFETY: the step is one of these, so this is a descriptor of the table; aligned, as that is.
        unsafe { is_writable::<ONE_LINE, { size_of::<Desc>() / InOrder::UNITS }>(self.steps.ring.descs, self.at, len) }
    }

    /// Where the buffer is.
    #[inline(always)]
    pub fn addr(&self) -> Gpa {
        // SAFETY: as in is_writable; any bits are valid.
        unsafe { (&raw const (*self.of(self.steps.ring.descs)).addr).read_volatile() }
    }

    /// Writes which buffer the used ring's entry names: this one.
    #[inline(always)]
    pub fn set_used_id(&self) {
        let index = self.steps.ring.end.wrapping_add(self.at) as u32 / InOrder::UNITS as u32;
        // SAFETY: the step is one of these, so this is an entry of the ring; aligned.
        unsafe { (&raw mut (*self.of(self.steps.ring.used).cast_mut()).id).write_volatile(index) };
    }

    /// Writes how many bytes the used ring's entry says.
    #[inline(always)]
    pub fn set_used_len(&self, len: u32) {
        // SAFETY: as in set_used_id.
        unsafe { (&raw mut (*self.of(self.steps.ring.used).cast_mut()).len).write_volatile(len) };
    }
}

impl Step<'_, Slots> {
    #[inline(always)]
    fn desc(&self) -> *const packed::Desc {
        self.of(self.steps.ring.descs)
    }

    /// The id of the buffer if its descriptor has these flags and a length of at least `len`; each field is read once. What the driver wrote
    /// before the flags is seen after them. `ONE_LINE`: `len` is that of a header and [`crate::LINE`] bytes.
    #[inline(always)]
    pub fn available<const ONE_LINE: bool>(&self, flags: u16, len: u32) -> Option<u16> {
        // SAFETY: the step is one of these, so this is a descriptor of the ring; aligned.
        unsafe { available::<ONE_LINE>(self.steps.ring.descs, self.at, flags, len) }
    }

    /// Where the buffer is.
    #[inline(always)]
    pub fn addr(&self) -> Gpa {
        // SAFETY: as in available; any bits are valid.
        unsafe { (&raw const (*self.desc()).addr).read_volatile() }
    }

    /// Notes what will be the descriptor's last word. In one store: a load of what two stores wrote waits for both.
    #[inline(always)]
    pub fn note(&self, word: u64) {
        // SAFETY: the step is one of these, so this is a word of the shadow, which outlives the steps.
        unsafe { &*self.of(self.steps.ring.shadow) }.set(word);
    }
}

#[cfg(test)]
mod tests;
