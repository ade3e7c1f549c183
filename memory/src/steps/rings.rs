//! How far steps go: the packets, the room in a ring, and the end of the ring's arrays bound them.

use super::{Entries, Heads, InOrder, Slots, Steps};
use crate::word::opaque;
use crate::{Ring, Table};
use core::cell::Cell;
use sluice_abi::call::Packet;
use sluice_abi::packed;
use sluice_abi::virtq::{Desc, UsedElem};

/// The available and the used ring of one split virtqueue.
#[derive(Clone, Copy, Debug)]
pub struct Rings<'m> {
    avail: Ring<'m, u16>,
    used: Ring<'m, UsedElem>,
}

impl<'m> Rings<'m> {
    /// Returns the pair of `avail` and `used`, or `None` if they differ in size.
    pub fn new(avail: Ring<'m, u16>, used: Ring<'m, UsedElem>) -> Option<Self> {
        (avail.mask == used.mask).then_some(Self { avail, used })
    }

    /// Returns the packets in step with the rings' entries from `next` on: at most `most`, and not beyond the end of
    /// the rings' arrays.
    #[inline(always)]
    pub fn steps(&self, packets: &Table<'m, Packet>, next: u16, most: u16) -> Steps<'m, Heads> {
        let at = usize::from(next) & self.used.mask;
        let most = usize::from(most).min(self.used.mask + 1 - at);
        Steps::new(packets, most, |len| Heads {
            heads: self.avail.base.wrapping_add(at + len),
            used: self.used.base.wrapping_add(at + len),
        })
    }

    /// Returns the same for a driver that uses the descriptors of `table` in their order. The available ring names the
    /// first one, and those that follow are not looked up. There are no steps if the first one is outside the table.
    #[inline(always)]
    pub fn steps_in_order(
        &self,
        table: &Table<'m, Desc>,
        packets: &Table<'m, Packet>,
        next: u16,
        most: u16,
    ) -> Steps<'m, InOrder> {
        let at = usize::from(next) & self.used.mask;
        let first = self.head(next);
        let descs = usize::from(table.count.saturating_sub(first));
        let most = usize::from(most).min(self.used.mask + 1 - at).min(descs);
        let first = usize::from(first);
        Steps::new(packets, most, |len| InOrder {
            descs: table.base.wrapping_add(first + len),
            // The compiler would halve both parts of what it knows to be a sum.
            end: opaque((first + len) * InOrder::UNITS),
            used: self.used.base.wrapping_add(at + len),
        })
    }

    /// Returns the available ring's entry at `index` modulo the size.
    #[inline(always)]
    pub fn head(&self, index: u16) -> u16 {
        self.avail.get(index)
    }

    /// Writes the used ring's entry at `index` modulo the size.
    #[inline(always)]
    pub fn set_used(&self, index: u16, element: UsedElem) {
        self.used.set(index, element);
    }
}

impl<'m> Steps<'m, Slots> {
    /// Returns the packets in step with the slots of `ring` from `slot` on and the words of `shadow`, at most as many
    /// as there are of each.
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
