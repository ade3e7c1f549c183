//! The packed format. See: VIRTIO 2.8 "Packed Virtqueues".
//!
//! A used descriptor is written over the available one, so what a burst uses is noted in a shadow and written when it
//! is published. The first slot is written last, as the driver looks at no slot behind one that is not used.

mod shared;

use super::chain::Chain;
use super::position::Position;
use crate::Regions;
use core::cell::Cell;
use core::hint::cold_path;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};
use sluice_abi::Gpa;
use sluice_abi::call::{Clause, MAX_BURST};
use sluice_abi::directory::Queue;
use sluice_abi::net::F;
use sluice_abi::packed::{self, Desc, DescF, EventSuppress};
use sluice_memory::{Cell16, PackedEvents, PeerSlice, Table};

/// Word of the shadow for a slot that nothing is written to, as it belongs to a chain that began before it. No used
/// descriptor has this flag.
const SKIP: u64 = (DescF::NEXT.bits() as u64) << 48;

/// First slot that the driver does not see as used (bits 15:0), its wrap counter (16), and how many slots behind it are
/// used, which are words of the shadow (47:32). In one word: a call that is interrupted leaves all of it as it was, or
/// as it will be.
pub(super) struct Cursor(AtomicU64);

impl Cursor {
    fn new(published: Position) -> Self {
        let cursor = Self(AtomicU64::new(0));
        cursor.set(published, 0);
        cursor
    }

    #[inline(always)]
    fn word(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns the position and the number of slots used behind it, read once.
    #[inline(always)]
    pub fn get(&self) -> (Position, u16) {
        let word = self.word();
        (Position { slot: word as u16, wrap: word >> 16 & 1 == 1 }, (word >> 32) as u16)
    }

    fn published(&self) -> Position {
        self.get().0
    }

    #[inline(always)]
    fn pending(&self) -> u16 {
        self.get().1
    }

    /// Writes both. Everything that they say of the ring is in the ring before (release).
    #[inline(always)]
    fn set(&self, published: Position, pending: u16) {
        let word = u64::from(published.slot) | u64::from(published.wrap) << 16 | u64::from(pending) << 32;
        self.0.store(word, Ordering::Release);
    }

    #[inline(always)]
    fn set_pending(&self, pending: u16) {
        self.set(self.published(), pending);
    }

    #[inline(always)]
    fn add_pending(&self, count: u16) {
        // Within the 16 bits: at most as many as there are words of the shadow.
        self.0.store(self.word() + (u64::from(count) << 32), Ordering::Release);
    }
}

#[cfg(test)]
impl Clone for Cursor {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.word()))
    }
}

/// A ring of descriptors, and two event suppression structures.
#[cfg_attr(test, derive(Clone))]
pub(super) struct Packed {
    pub ring: Table<'static, Desc>,
    ring_at: Gpa,
    indirect: bool,
    /// What the driver asks of the device, and the device of the driver.
    driver: PackedEvents<Cell16<'static>>,
    device: PackedEvents<Cell16<'static>>,
    pub cursor: Cursor,
    /// There may be a [`SKIP`] among what is pending.
    chains: bool,
    /// Slots published since the driver was last considered for a notification.
    considered: u64,
    /// Slots that others have published under the lock so far, modulo 2^32, when this one looked last.
    seen: u32,
    /// What will be the last word of each descriptor, by slots behind `published`.
    pub shadow: [Cell<u64>; MAX_BURST],
}

impl Packed {
    pub fn new(queue: &Queue, features: F, regions: &Regions, base: u32) -> Result<Self, Clause> {
        let (size, at) = (queue.size, queue.addresses);
        if size == 0 || size > packed::MAX_SIZE {
            return Err(Clause::Layout);
        }
        let area = |at: Gpa, len| regions.find(at, len).map_err(|_| Clause::Layout);
        let ring = area(at.desc, packed::ring_len(size))?;
        let event_idx = features.contains(F::EVENT_IDX);
        let events = |at| events(area(at, size_of::<EventSuppress>() as u64)?, event_idx, size);
        Ok(Self {
            ring: ring.table(0, size).ok_or(Clause::Layout)?,
            ring_at: at.desc,
            indirect: features.contains(F::INDIRECT_DESC),
            driver: events(at.driver)?,
            device: events(at.device)?,
            cursor: Cursor::new(position(base, size)?),
            chains: false,
            considered: 0,
            seen: 0,
            shadow: [const { Cell::new(SKIP) }; MAX_BURST],
        })
    }

    pub fn base(&self) -> u32 {
        let base = self.cursor.published().to_base();
        base | base << 16
    }

    pub fn size(&self) -> u16 {
        self.ring.size()
    }

    fn next(&self) -> Position {
        let (published, pending) = self.cursor.get();
        published.advance(pending, self.size())
    }

    /// Returns the number of slots that may be used before something is published.
    fn room(&self) -> u16 {
        (MAX_BURST as u16).min(self.size()) - self.pending()
    }

    pub fn is_available(&self) -> bool {
        let next = self.next();
        let word = self.ring.load_acquire(next.slot);
        self.room() > 0 && word.is_some_and(|word| next.is_available(DescF::from_bits_retain((word >> 48) as u16)))
    }

    pub fn next_buffer(&self) -> Option<Gpa> {
        self.is_available().then(|| self.ring.addr(self.next().slot)).flatten()
    }

    /// Uses `count` slots, which were filled, and returns their number.
    #[inline(always)]
    pub fn take(&mut self, count: u16) -> u16 {
        self.cursor.add_pending(count);
        count
    }

    pub fn next_chain(&self) -> Option<Chain> {
        self.is_available().then(|| Chain::packed(self.ring, self.next(), self.indirect))
    }

    /// Uses `chain` and returns `true`, or returns `false` if there is no room for it before something is published.
    pub fn use_chain(&mut self, chain: &Chain, written: u32) -> bool {
        if chain.slots() > self.room() {
            return false;
        }
        self.chains |= chain.slots() > 1;
        let flags = self.next().used(written).bits();
        let word = u64::from(written) | u64::from(chain.id()) << 32 | u64::from(flags) << 48;
        let slots = self.shadow.iter().skip(self.pending().into()).take(chain.slots().into());
        slots.enumerate().for_each(|(index, shadow)| shadow.set(if index == 0 { word } else { SKIP }));
        self.cursor.set_pending(self.pending() + chain.slots());
        true
    }

    #[inline(always)]
    pub fn publish(&mut self) {
        if self.pending() > 0 {
            self.write_used();
        }
    }

    #[inline(never)]
    fn write_used(&mut self) {
        let (first, pending) = (self.cursor.published().slot, self.pending());
        let pending = self.shadow.get(..pending.into()).unwrap_or_default();
        let (before_wrap, behind) = pending.split_at(pending.len().min((self.size() - first).into()));
        if self.chains {
            cold_path();
            self.ring.store_release_some(0, behind, SKIP);
            self.ring.store_release_some(first, before_wrap, SKIP);
        } else {
            self.ring.store_release_all(0, behind);
            self.ring.store_release_all(first, before_wrap);
        }
        self.forget();
    }

    /// Notes that everything pending is published.
    fn forget(&mut self) {
        let (published, pending) = self.cursor.get();
        self.considered += u64::from(pending);
        self.cursor.set(published.advance(pending, self.size()), 0);
        self.chains = false;
    }

    /// Publishes once more what may be published already. The first slot is written last: if it is used, all are, and
    /// the driver may already be using them anew.
    pub fn publish_again(&mut self) {
        let first = self.cursor.published();
        let word = self.ring.load_acquire(first.slot).unwrap_or(0);
        if first.is_available(DescF::from_bits_retain((word >> 48) as u16)) {
            self.publish();
        } else {
            self.forget();
        }
    }

    #[inline(always)]
    pub fn pending(&self) -> u16 {
        self.cursor.pending()
    }

    /// Takes back all but the first `pending` slots that are used and not published.
    pub fn keep(&mut self, pending: u16) {
        self.cursor.set_pending(pending.min(self.pending()));
    }

    pub fn needs_notification(&mut self) -> bool {
        let count = core::mem::take(&mut self.considered);
        let published = self.cursor.published();
        count > 0 && self.driver.wanted(published.slot, published.wrap, count)
    }

    /// Returns the address of the next descriptor's id and flags. The ring is in the driver's memory, so no address in
    /// it wraps.
    pub fn next_used(&self) -> Gpa {
        let offset = usize::from(self.cursor.published().slot) * size_of::<Desc>() + offset_of!(Desc, id);
        Gpa(self.ring_at.0 + offset as u64)
    }

    pub fn ask_for_notifications(&mut self, on: bool) {
        let next = self.next();
        self.device.ask(on.then_some((next.slot, next.wrap)));
    }

    pub fn ring_area(&self) -> (Gpa, u64) {
        (self.ring_at, packed::ring_len(self.size()))
    }
}

fn events(area: PeerSlice<'static>, event_idx: bool, size: u16) -> Result<PackedEvents<Cell16<'static>>, Clause> {
    let cell = |at| area.cell16(at).ok_or(Clause::Layout);
    Ok(PackedEvents { desc: cell(0)?, flags: cell(2)?, event_idx, size })
}

/// Returns the position that `base` says. For used descriptors it may be the same, or left out.
fn position(base: u32, size: u16) -> Result<Position, Clause> {
    let (taken, used) = (base as u16, (base >> 16) as u16);
    let slot = taken & 0x7fff;
    let valid = slot < size && (used == taken || used == 0);
    valid.then_some(Position { slot, wrap: taken >> 15 == 1 }).ok_or(Clause::Layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_goes_round_a_ring_of_any_size() {
        let mut at = Position { slot: 0, wrap: true };
        for step in 1..=100u16 {
            at = at.advance(3, 7);
            assert_eq!((at.slot, at.wrap), (3 * step % 7, (3 * step / 7) % 2 == 0));
        }
    }

    #[test]
    fn a_base_names_a_slot_of_the_ring() {
        let at = |slot, wrap| Ok(Position { slot, wrap });
        assert_eq!(position(1 << 15 | 1 << 31, 8), at(0, true));
        assert_eq!(position(1 << 15, 8), at(0, true));
        assert_eq!(position(0x0007_0007, 8), at(7, false));
        for base in [8, 0x0008_0008, 0x0001_0002, 0x8000_0001] {
            assert_eq!(position(base, 8), Err(Clause::Layout));
        }
    }
}
