//! A request and a virtqueue, one entry of each at a time: the bounds of a burst, checked once.
#![allow(unsafe_code, reason = "touches shared memory within bounds that PeerSlice and Steps checked")]

use crate::ring::Buffer;
use crate::word::{is_packet, opaque};
use crate::{Ring, Table};
use core::cell::Cell;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering};
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

    /// The packets of `request` from `from` on, in step with the rings' entries from `next` on: at most `most`, and not beyond the end of
    /// the rings' arrays.
    #[inline(always)]
    pub fn steps(&self, request: &Table<'m, Packet>, from: u16, next: u16, most: u16) -> Steps<'m, Heads> {
        let at = usize::from(next) & self.mask;
        let ring = Heads { heads: self.heads.wrapping_add(at), used: self.used.wrapping_add(at) };
        Steps::new(request, from, usize::from(most).min(self.mask + 1 - at), ring)
    }

    /// The same for a driver that uses the descriptors of `table` in their order: the first one is named by the available ring, those
    /// that follow it aren't looked up. None if that one is outside the table.
    #[inline(always)]
    pub fn steps_in_order(
        &self,
        table: &Table<'m, Desc>,
        request: &Table<'m, Packet>,
        from: u16,
        next: u16,
        most: u16,
    ) -> Steps<'m, InOrder> {
        let at = usize::from(next) & self.mask;
        let first = self.head(next);
        let ring = InOrder {
            descs: table.base.wrapping_add(usize::from(first)),
            first: first.into(),
            used: self.used.wrapping_add(at),
        };
        let descs = usize::from(table.count.saturating_sub(first));
        Steps::new(request, from, usize::from(most).min(self.mask + 1 - at).min(descs), ring)
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

/// Packets of a request, each with its place in a ring.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'m, R> {
    packets: *const Packet,
    /// At most as many as there are of packets and of places in the ring.
    len: usize,
    ring: R,
    memory: PhantomData<&'m ()>,
}

/// Places in a split virtqueue: entries of the available and of the used ring.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    heads: *const u16,
    used: *mut UsedElem,
}

/// Places in a split virtqueue whose driver uses descriptors in order.
#[derive(Clone, Copy, Debug)]
pub struct InOrder {
    descs: *const Desc,
    first: u32,
    used: *mut UsedElem,
}

/// Slots of a packed virtqueue, and what will be written into them.
#[derive(Clone, Copy, Debug)]
pub struct Slots {
    descs: *const packed::Desc,
    shadow: *const Cell<u64>,
}

impl<'m, R> Steps<'m, R> {
    #[inline(always)]
    fn new(request: &Table<'m, Packet>, from: u16, most: usize, ring: R) -> Self {
        let packets = request.base.wrapping_add(usize::from(from));
        let len = usize::from(request.count.saturating_sub(from)).min(most);
        Self { packets, len, ring, memory: PhantomData }
    }

    /// How many.
    #[inline(always)]
    pub const fn count(&self) -> usize {
        self.len
    }

    /// Takes them in order until `work` says that one is not done: how many were.
    #[inline(always)]
    pub fn take_while(&self, work: impl Fn(&Step<'_, R>) -> Option<()>) -> usize {
        let mut at = 0;
        while at < self.len && work(&Step { steps: self, at }).is_some() {
            at = opaque(at + 1);
        }
        at
    }
}

impl<'m> Steps<'m, Slots> {
    /// The packets of `request` from `from` on, in step with the slots of `ring` from `slot` on and the words of `shadow`: at most as
    /// many as there are of each.
    #[inline(always)]
    pub fn slots(
        ring: &Table<'m, packed::Desc>,
        request: &Table<'m, Packet>,
        from: u16,
        slot: u16,
        shadow: &'m [Cell<u64>],
    ) -> Self {
        let slots = usize::from(ring.count.saturating_sub(slot)).min(shadow.len());
        let ring = Slots { descs: ring.base.wrapping_add(usize::from(slot)), shadow: shadow.as_ptr() };
        Self::new(request, from, slots, ring)
    }
}

/// One of [`Steps`].
#[derive(Clone, Copy, Debug)]
pub struct Step<'s, R> {
    steps: &'s Steps<'s, R>,
    /// Below the number of steps.
    at: usize,
}

impl<R> Step<'_, R> {
    /// The one that comes `count` later, if it is one of these.
    #[inline(always)]
    pub fn ahead(&self, count: usize) -> Option<Self> {
        let at = self.at + count;
        (at < self.steps.len).then_some(Self { steps: self.steps, at })
    }

    /// Where the packet starts, read once.
    #[inline(always)]
    pub fn offset(&self) -> u32 {
        // SAFETY: at is below the number of steps, so this is a packet of the table; any bits are valid.
        unsafe { self.steps.packets.wrapping_add(self.at).cast::<u32>().read_volatile() }
    }

    /// The packet's length (15:0), peer (23:16) and flags (31:24), read once.
    #[inline(always)]
    pub fn len_and_peer(&self) -> u32 {
        // SAFETY: as in offset.
        unsafe { self.steps.packets.wrapping_add(self.at).cast::<u32>().wrapping_add(1).read_volatile() }
    }

    /// Whether that is `word`.
    #[inline(always)]
    pub fn is(&self, word: u32) -> bool {
        // SAFETY: as in offset.
        unsafe { is_packet(self.steps.packets, self.at, word) }
    }
}

/// Writes a used element that nobody looks at before it is published: its two fields.
///
/// # Safety
/// `used` is valid for writes, and aligned.
#[inline(always)]
unsafe fn set_used(used: *mut UsedElem, id: u32, len: u32) {
    // SAFETY: the caller's contract.
    unsafe {
        (&raw mut (*used).id).write_volatile(id);
        (&raw mut (*used).len).write_volatile(len);
    }
}

impl Step<'_, Heads> {
    /// The entry of the available ring: a descriptor's index, or anything else that the driver wrote.
    #[inline(always)]
    pub fn head(&self) -> u16 {
        // SAFETY: at is below the number of steps, so this is an entry of the ring.
        unsafe { self.steps.ring.heads.wrapping_add(self.at).read_volatile() }
    }

    /// Writes the used ring's entry.
    #[inline(always)]
    pub fn set_used(&self, id: u16, len: u32) {
        // SAFETY: at is below the number of steps, so this is an entry of the ring.
        unsafe { set_used(self.steps.ring.used.wrapping_add(self.at), id.into(), len) };
    }
}

impl<'s> Step<'s, InOrder> {
    /// The descriptor.
    #[inline(always)]
    pub fn buffer(&self) -> Buffer<'s> {
        // SAFETY: at is below the number of steps, so this is a descriptor of the table.
        unsafe { Buffer::new(self.steps.ring.descs, self.at * size_of::<Desc>()) }
    }

    /// Writes the used ring's entry.
    #[inline(always)]
    pub fn set_used(&self, len: u32) {
        let ring = &self.steps.ring;
        // SAFETY: at is below the number of steps, so this is an entry of the ring.
        unsafe { set_used(ring.used.wrapping_add(self.at), ring.first.wrapping_add(self.at as u32), len) };
    }
}

impl Step<'_, Slots> {
    #[inline(always)]
    fn desc(&self) -> *const packed::Desc {
        self.steps.ring.descs.wrapping_add(self.at)
    }

    /// The descriptor's last word, read once: length, id, flags. What the driver wrote before it is seen after it.
    #[inline(always)]
    pub fn word(&self) -> u64 {
        let word = self.desc().cast::<u64>().wrapping_add(1);
        // SAFETY: at is below the number of steps, so this is the second half of a descriptor; 8-byte aligned; never touched but
        // atomically or volatilely.
        unsafe { AtomicU64::from_ptr(word.cast_mut()) }.load(Ordering::Acquire)
    }

    /// Where the buffer is.
    #[inline(always)]
    pub fn addr(&self) -> Gpa {
        // SAFETY: as in word.
        unsafe { (&raw const (*self.desc()).addr).read_volatile() }
    }

    /// Notes what will be the descriptor's last word.
    #[inline(always)]
    pub fn note(&self, word: u64) {
        // SAFETY: at is below the number of steps, so this is a word of the shadow, which outlives the steps.
        unsafe { &*self.steps.ring.shadow.wrapping_add(self.at) }.set(word);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::PeerSlice;
    use sluice_abi::PeerIdx;
    use std::vec::Vec;

    fn memory(words: &mut Vec<u64>) -> PeerSlice<'_> {
        // SAFETY: the vector outlives the slice and is not touched otherwise.
        unsafe { PeerSlice::from_raw(words.as_mut_ptr().cast(), words.len() as u64 * 8) }
    }

    #[test]
    fn steps_go_as_far_as_all_three_do_and_no_further() {
        let (mut request, mut rings) = (std::vec![0; 6], std::vec![0; 16]);
        let request = memory(&mut request).table::<Packet>(0, 6).unwrap();
        let all = memory(&mut rings);
        let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
        let table = all.table::<Desc>(64, 4).unwrap();
        for (from, next, most) in (0..=7)
            .flat_map(|from| [0, 1, 3, 4, 65_535].map(|next| (0..=7).map(move |most| (from, next, most))))
            .flatten()
        {
            let expected = 6u16.saturating_sub(from).min(most).min(4 - next % 4);
            assert_eq!(rings.steps(&request, from, next, most).count(), usize::from(expected));
            for first in [0, 3, 4, 65_535] {
                all.write(2 * u64::from(next % 4), first).unwrap();
                let in_order = rings.steps_in_order(&table, &request, from, next, most).count();
                assert_eq!(in_order, usize::from(expected.min(4u16.saturating_sub(first))));
            }
        }
        assert!(Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 2).unwrap()).is_none());
    }

    #[test]
    fn slots_go_as_far_as_ring_packets_and_shadow_do() {
        let (mut request, mut ring) = (std::vec![0; 6], std::vec![0; 10]);
        let (request, all) = (memory(&mut request), memory(&mut ring));
        let (request, ring) = (request.table::<Packet>(0, 6).unwrap(), all.table::<packed::Desc>(0, 5).unwrap());
        let shadow = [const { Cell::new(0) }; 3];
        for (from, slot, room, expected) in
            [(0, 0, 3, 3), (4, 0, 3, 2), (0, 3, 3, 2), (0, 5, 3, 0), (0, 9, 3, 0), (0, 0, 1, 1)]
        {
            assert_eq!(Steps::slots(&ring, &request, from, slot, &shadow[..room]).count(), expected);
        }
        all.write(16, packed::Desc { addr: Gpa(7), len: 9, id: 3, flags: 2 }).unwrap();
        let taken = Steps::slots(&ring, &request, 0, 1, &shadow[1..2]).take_while(|step| {
            assert_eq!((step.word(), step.addr()), (9 | 3 << 32 | 2 << 48, Gpa(7)));
            step.note(5);
            Some(())
        });
        assert_eq!((taken, shadow.each_ref().map(Cell::get)), (1, [0, 5, 0]));
    }

    #[test]
    fn a_step_reads_and_writes_its_own_entries() {
        let (mut request, mut ring) = (std::vec![0; 4], std::vec![0; 8]);
        let (request, all) = (memory(&mut request), memory(&mut ring));
        request.write(16, Packet::new(7, 60, PeerIdx(3))).unwrap();
        all.write(6, 0x1234u16).unwrap();
        let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
        let steps = rings.steps(&request.table(0, 4).unwrap(), 2, 3, 4);
        let taken = steps.take_while(|step| {
            assert_eq!((step.offset(), step.len_and_peer(), step.head()), (7, 60 | 3 << 16, 0x1234));
            assert_eq!([60 | 3 << 16, 60, 61 | 3 << 16].map(|word| step.is(word)), [true, false, false]);
            assert!(step.ahead(1).is_none());
            step.set_used(5, 6);
            Some(())
        });
        assert_eq!((taken, all.read(32 + 3 * 8)), (1, Ok(UsedElem { id: 5, len: 6 })));
        assert_eq!(steps.take_while(|_| None), 0);
    }

    #[test]
    fn a_step_in_order_has_the_descriptor_that_follows() {
        let (mut request, mut ring) = (std::vec![0; 4], std::vec![0; 16]);
        let (request, all) = (memory(&mut request), memory(&mut ring));
        all.write(2, 2u16).unwrap();
        all.write(64 + 3 * 16, Desc { addr: Gpa(9), len: 80, flags: 2, next: 0 }).unwrap();
        let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
        let steps = rings.steps_in_order(&all.table(64, 4).unwrap(), &request.table(0, 4).unwrap(), 0, 1, 4);
        let taken = steps.take_while(|step| {
            step.set_used(76);
            assert_eq!(step.buffer().is_writable::<false>(76), step.at == 1);
            assert_eq!(step.buffer().addr().0, if step.at == 1 { 9 } else { 0 });
            assert_eq!(step.ahead(1).map(|step| step.at), (step.at == 0).then_some(1));
            Some(())
        });
        assert_eq!((taken, all.read(32 + 2 * 8)), (2, Ok(UsedElem { id: 3, len: 76 })));
    }
}
