//! A request and a split ring, one entry of each at a time.
#![allow(unsafe_code, reason = "touches shared memory within bounds that PeerSlice and Steps checked")]

use crate::copy::opaque;
use crate::{Ring, Table};
use core::marker::PhantomData;
use sluice_abi::call::Packet;
use sluice_abi::virtq::UsedElem;

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
    pub fn steps(&self, request: &Table<'m, Packet>, from: u16, next: u16, most: u16) -> Steps<'m> {
        let at = usize::from(next) & self.mask;
        Steps {
            packets: request.base.wrapping_add(usize::from(from)),
            heads: self.heads.wrapping_add(at),
            used: self.used.wrapping_add(at),
            len: usize::from(request.count.saturating_sub(from).min(most)).min(self.mask + 1 - at),
            memory: PhantomData,
        }
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

/// Packets of a request, each with the entry of the available ring it will take and the entry of the used ring it will make.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'m> {
    packets: *const Packet,
    heads: *const u16,
    used: *mut UsedElem,
    /// At most as many as there are of each of the three.
    len: usize,
    memory: PhantomData<&'m ()>,
}

impl Steps<'_> {
    /// How many.
    #[inline(always)]
    pub const fn count(&self) -> usize {
        self.len
    }

    /// Takes them in order until `work` says that one is not done: how many were.
    #[inline(always)]
    pub fn take_while(&self, work: impl Fn(Step<'_>) -> Option<()>) -> usize {
        let mut at = 0;
        while at < self.len && work(Step { steps: self, at }).is_some() {
            at = opaque(at + 1);
        }
        at
    }
}

/// One of [`Steps`].
#[derive(Clone, Copy, Debug)]
pub struct Step<'s> {
    steps: &'s Steps<'s>,
    /// Below the number of steps.
    at: usize,
}

impl Step<'_> {
    /// The packet: offset, and length with the peer's place in bits 31:16. Each is read once.
    #[inline(always)]
    pub fn packet(&self) -> (u32, u32) {
        let packet = self.steps.packets.wrapping_add(self.at).cast::<u32>();
        // SAFETY: at is below the number of steps, so this is a packet of the table; any bits are valid.
        unsafe { (packet.read_volatile(), packet.wrapping_add(1).read_volatile()) }
    }

    /// The entry of the available ring: a descriptor's index, or anything else that the driver wrote.
    #[inline(always)]
    pub fn head(&self) -> u16 {
        // SAFETY: at is below the number of steps, so this is an entry of the ring.
        unsafe { self.steps.heads.wrapping_add(self.at).read_volatile() }
    }

    /// Writes `id` of the used ring's entry.
    #[inline(always)]
    pub fn set_id(&self, id: u32) {
        // SAFETY: at is below the number of steps, so this is an entry of the ring.
        unsafe { (&raw mut (*self.steps.used.wrapping_add(self.at)).id).write_volatile(id) };
    }

    /// Writes `len` of the used ring's entry.
    #[inline(always)]
    pub fn set_len(&self, len: u32) {
        // SAFETY: as in set_id.
        unsafe { (&raw mut (*self.steps.used.wrapping_add(self.at)).len).write_volatile(len) };
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::PeerSlice;
    use std::vec::Vec;

    fn memory(words: &mut Vec<u64>) -> PeerSlice<'_> {
        // SAFETY: the vector outlives the slice and is not touched otherwise.
        unsafe { PeerSlice::from_raw(words.as_mut_ptr().cast(), words.len() as u64 * 8) }
    }

    #[test]
    fn steps_go_as_far_as_all_three_do_and_no_further() {
        let (mut request, mut rings) = (std::vec![0; 6], std::vec![0; 8]);
        let request = memory(&mut request).table::<Packet>(0, 6).unwrap();
        let all = memory(&mut rings);
        let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
        for from in 0..=7 {
            for next in [0, 1, 3, 4, 65_535] {
                for most in 0..=7 {
                    let expected = 6u16.saturating_sub(from).min(most).min(4 - next % 4);
                    assert_eq!(rings.steps(&request, from, next, most).count(), usize::from(expected));
                }
            }
        }
        assert!(Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 2).unwrap()).is_none());
    }

    #[test]
    fn a_step_reads_and_writes_its_own_entries() {
        let (mut request, mut ring) = (std::vec![0; 4], std::vec![0; 8]);
        let (request, all) = (memory(&mut request), memory(&mut ring));
        request.write(16, Packet { offset: 7, len: 60, peer: 3 }).unwrap();
        all.write(6, 0x1234u16).unwrap();
        let rings = Rings::new(all.ring(0, 4).unwrap(), all.ring(32, 4).unwrap()).unwrap();
        let steps = rings.steps(&request.table(0, 4).unwrap(), 2, 3, 4);
        let taken = steps.take_while(|step| {
            assert_eq!((step.packet(), step.head()), ((7, 60 | 3 << 16), 0x1234));
            step.set_id(5);
            step.set_len(6);
            Some(())
        });
        assert_eq!((taken, all.read(32 + 3 * 8)), (1, Ok(UsedElem { id: 5, len: 6 })));
        assert_eq!(steps.take_while(|_| None), 0);
    }
}
