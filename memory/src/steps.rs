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
mod tests {
    extern crate std;
    use super::*;
    use crate::PeerSlice;
    use sluice_abi::PeerIdx;

    #[test]
    fn steps_go_as_far_as_all_three_do_and_no_further() {
        let (mut request, mut rings) = (std::vec![0u64; 6], std::vec![0u64; 16]);
        let request = PeerSlice::from_mut(&mut request).table::<Packet>(0, 6).unwrap();
        let all = PeerSlice::from_mut(&mut rings);
        let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
        let table = all.table::<Desc>(64, 4).unwrap();
        for (from, next, most) in (0..=7)
            .flat_map(|from| [0, 1, 3, 4, 65_535].map(|next| (0..=7).map(move |most| (from, next, most))))
            .flatten()
        {
            let expected = 6u16.saturating_sub(from).min(most).min(4 - next % 4);
            assert_eq!(rings.steps(&request.from(from), next, most).count(), usize::from(expected));
            for first in [0, 3, 4, 65_535] {
                all.write(2 * u64::from(next % 4), first).unwrap();
                let in_order = rings.steps_in_order(&table, &request.from(from), next, most).count();
                assert_eq!(in_order, usize::from(expected.min(4u16.saturating_sub(first))));
            }
        }
        assert!(Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 2).unwrap()).is_none());
    }

    #[test]
    fn slots_go_as_far_as_ring_packets_and_shadow_do() {
        let (mut request, mut ring) = (std::vec![0u64; 6], std::vec![0u64; 10]);
        let (request, all) = (PeerSlice::from_mut(&mut request), PeerSlice::from_mut(&mut ring));
        let (request, ring) = (request.table::<Packet>(0, 6).unwrap(), all.table::<packed::Desc>(0, 5).unwrap());
        let shadow = [const { Cell::new(0) }; 3];
        for (from, slot, room, expected) in
            [(0, 0, 3, 3), (4, 0, 3, 2), (0, 3, 3, 2), (0, 5, 3, 0), (0, 9, 3, 0), (0, 0, 1, 1)]
        {
            assert_eq!(Steps::slots(&ring, &request.from(from), slot, &shadow[..room]).count(), expected);
        }
        all.write(16, packed::Desc { addr: Gpa(7), len: 80, id: 3, flags: 2 }).unwrap();
        let taken = Steps::slots(&ring, &request, 1, &shadow[1..2]).take_while(|step| {
            let available = |flags, len| (step.available::<false>(flags, len), step.available::<true>(flags, 76));
            assert_eq!(available(2, 80), (Some(3), Some(3)));
            assert_eq!([(2, 81), (3, 80), (0, 80)].map(|(flags, len)| step.available::<false>(flags, len)), [None; 3]);
            assert_eq!(step.available::<true>(0x8002, 76), None);
            assert_eq!(step.addr(), Gpa(7));
            step.note(5);
            Some(())
        });
        assert_eq!((taken, shadow.each_ref().map(Cell::get)), (1, [0, 5, 0]));
        all.write(24, 75 | 3u64 << 32 | 2 << 48).unwrap();
        let short = Steps::slots(&ring, &request, 1, &shadow[1..2]);
        assert_eq!(short.take_while(|step| step.available::<true>(2, 76).map(|_| ())), 0);
    }

    #[test]
    fn a_step_reads_and_writes_its_own_entries() {
        let (mut request, mut ring) = (std::vec![0u64; 4], std::vec![0u64; 8]);
        let (request, all) = (PeerSlice::from_mut(&mut request), PeerSlice::from_mut(&mut ring));
        request.write(16, Packet::new(7, 60, PeerIdx(3))).unwrap();
        all.write(6, 0x1234u16).unwrap();
        let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
        let steps = rings.steps(&request.table(0, 4).unwrap().from(2), 3, 4);
        let taken = steps.take_while(|step| {
            assert_eq!((step.offset(), step.len_and_peer(), step.head()), (7, 60 | 3 << 16, 0x1234));
            assert_eq!([60 | 3 << 16, 60, 61 | 3 << 16].map(|word| step.is(word)), [true, false, false]);
            assert!(step.ahead(1).is_none());
            step.set_used_id(5);
            step.set_used_len(6);
            Some(())
        });
        assert_eq!((taken, all.read(32 + 3 * 8)), (1, Ok(UsedElem { id: 5, len: 6 })));
        assert_eq!(steps.take_while(|_| None), 0);
    }

    #[test]
    fn a_step_in_order_has_the_descriptor_that_follows() {
        let (mut request, mut ring) = (std::vec![0u64; 4], std::vec![0u64; 16]);
        let (request, all) = (PeerSlice::from_mut(&mut request), PeerSlice::from_mut(&mut ring));
        all.write(2, 2u16).unwrap();
        all.write(64 + 3 * 16, Desc { addr: Gpa(9), len: 80, flags: 2, next: 0 }).unwrap();
        let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
        let steps = rings.steps_in_order(&all.table(64, 4).unwrap(), &request.table(0, 4).unwrap(), 1, 4);
        let taken = steps.take_while(|step| {
            step.set_used_id();
            step.set_used_len(76);
            let last = step.ahead(1).is_none();
            assert_eq!(step.is_writable::<false>(76), last);
            assert_eq!(step.addr().0, if last { 9 } else { 0 });
            assert_eq!(step.ahead(1).map(|step| step.addr().0), (!last).then_some(9));
            Some(())
        });
        assert_eq!((taken, all.read(32 + 2 * 8)), (2, Ok(UsedElem { id: 3, len: 76 })));
    }
}
