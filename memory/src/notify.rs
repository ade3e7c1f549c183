//! Whether the other side of a queue wants a notification.
//!
//! Both sides follow one handshake. The side that publishes writes, executes a full fence, and looks what the other
//! side asks for. The side that wants a notification asks, executes a full fence, and looks whether something is there
//! already. One of the two sees the other's write, so nothing is missed. Without the fences both could look too early;
//! the tests in memory/tests/notify.rs show it by trying all orders.

use crate::Cell16;
use sluice_abi::packed::event;
use sluice_abi::{RingIdx, virtq};

/// A 16-bit word that both sides see.
pub trait SharedWord {
    /// Returns the word. Everything that its writer wrote before it is seen after it.
    fn load_acquire(&self) -> u16;
    /// Writes the word. Whoever sees it sees everything that was written before it.
    fn store_release(&self, value: u16);
    /// Orders every access before it against every access after it.
    fn full_fence();
}

impl SharedWord for Cell16<'_> {
    fn load_acquire(&self) -> u16 {
        Cell16::load_acquire(self)
    }

    fn store_release(&self, value: u16) {
        Cell16::store_release(self, value);
    }

    fn full_fence() {
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    }
}

/// What one side of a split virtqueue asks of the other. See: VIRTIO 2.7.7 "Used Buffer Notification Suppression",
/// 2.7.10 "Available Buffer Notification Suppression".
#[derive(Clone, Copy, Debug)]
pub struct SplitEvents<W> {
    /// The field `flags` of the ring that this side writes.
    pub flags: W,
    /// The field `used_event` or `avail_event` behind that ring, or `None` unless [`sluice_abi::net::F::EVENT_IDX`] is
    /// negotiated.
    pub event: Option<W>,
}

impl<W: SharedWord> SplitEvents<W> {
    /// Returns whether the other side wants a notification, now that this side has published `count` entries up to
    /// before `new` since it last asked.
    ///
    /// The entries are counted because indices wrap around: the distance between two of them is 0 after 65,536 entries.
    pub fn wanted(&self, new: RingIdx, count: u64) -> bool {
        W::full_fence();
        match &self.event {
            Some(event) => new.has_passed(RingIdx(event.load_acquire()), count),
            None => self.flags.load_acquire() & virtq::AvailF::NO_INTERRUPT.bits() == 0,
        }
    }

    /// Asks to be notified of the entry at `next`, or of nothing. Look for entries once more after that.
    ///
    /// With an event index "nothing" only means that the request is not renewed: one more notification may come.
    pub fn ask(&self, next: Option<RingIdx>) {
        match (&self.event, next) {
            (Some(event), Some(next)) => event.store_release(next.0),
            (Some(_), None) => {}
            (None, next) => {
                self.flags.store_release(if next.is_some() { 0 } else { virtq::AvailF::NO_INTERRUPT.bits() });
            }
        }
        W::full_fence();
    }
}

const _: () = assert!(virtq::AvailF::NO_INTERRUPT.bits() == virtq::UsedF::NO_NOTIFY.bits());

/// What one side of a packed virtqueue asks of the other. See: VIRTIO 2.8.10 "Driver and Device Event Suppression".
#[derive(Clone, Copy, Debug)]
pub struct PackedEvents<W> {
    /// The field [`sluice_abi::packed::EventSuppress::desc`].
    pub desc: W,
    /// The field [`sluice_abi::packed::EventSuppress::flags`].
    pub flags: W,
    /// Whether [`sluice_abi::net::F::EVENT_IDX`] is negotiated.
    pub event_idx: bool,
    /// Number of slots of the ring.
    pub size: u16,
}

impl<W: SharedWord> PackedEvents<W> {
    /// Returns whether the other side wants a notification, now that this side has published `count` slots up to before
    /// `slot` of the lap with wrap counter `wrap` since it last asked.
    pub fn wanted(&self, slot: u16, wrap: bool, count: u64) -> bool {
        W::full_fence();
        match self.flags.load_acquire() & 0b11 {
            event::DISABLE => false,
            event::DESC if self.event_idx => self.is_among(self.desc.load_acquire(), slot, wrap, count),
            _ => true,
        }
    }

    /// Returns whether the slot and lap `asked` is one of the `count` before `slot`. After two laps both counters are
    /// as they were, so `count` slots are then all slots of the ring.
    fn is_among(&self, asked: u16, slot: u16, wrap: bool, count: u64) -> bool {
        let lap = i32::from(self.size);
        let place = |slot: u16, wrap: bool| i32::from(slot) + if wrap { 0 } else { lap };
        let behind = place(slot, wrap) - place(asked & 0x7fff, asked >> 15 == 1);
        let behind = if behind > 0 { behind } else { behind + 2 * lap };
        u64::try_from(behind).is_ok_and(|behind| (1..=count).contains(&behind))
    }

    /// Asks to be notified of the slot and lap `next`, or of nothing. Look for descriptors once more after that.
    pub fn ask(&self, next: Option<(u16, bool)>) {
        let flags = match next {
            None => event::DISABLE,
            Some(_) if !self.event_idx => event::ENABLE,
            Some((slot, wrap)) => {
                self.desc.store_release(slot & 0x7fff | u16::from(wrap) << 15);
                event::DESC
            }
        };
        self.flags.store_release(flags);
        W::full_fence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    struct Word(Cell<u16>);

    impl SharedWord for Word {
        fn load_acquire(&self) -> u16 {
            self.0.get()
        }
        fn store_release(&self, value: u16) {
            self.0.set(value);
        }
        fn full_fence() {}
    }

    fn word() -> Word {
        Word(Cell::new(0))
    }

    #[test]
    fn a_split_ring_is_told_as_its_flag_or_its_index_says() {
        let plain = SplitEvents { flags: word(), event: None };
        assert!(plain.wanted(RingIdx(4), 1));
        plain.ask(None);
        assert!(!plain.wanted(RingIdx(4), 1) && !plain.wanted(RingIdx(4), u64::MAX), "it polls, for however long");
        let indexed = SplitEvents { flags: word(), event: Some(word()) };
        for (next, new, count, wanted) in [
            (5, 6, 1, true),
            (5, 6, 2, true),
            (5, 7, 1, false),
            (5, 5, 1, false),
            (65_535, 2, 8, true),
            (5, 5, 0, false),
            (5, 5, 65_535, false),
            (5, 4, 65_535, true),
            (5, 5, 65_536, true),
            (5, 7, 65_538, true),
            (5, 9, u64::MAX, true),
        ] {
            indexed.ask(Some(RingIdx(next)));
            indexed.ask(None);
            assert_eq!(indexed.wanted(RingIdx(new), count), wanted, "{next} {new} {count}");
        }
    }

    #[test]
    fn a_packed_ring_is_told_as_its_flags_and_its_slot_say() {
        let mut events = PackedEvents { desc: word(), flags: word(), event_idx: false, size: 6 };
        events.ask(Some((3, true)));
        assert!(events.wanted(1, false, 1) && events.flags.load_acquire() == event::ENABLE);
        events.flags.store_release(event::DESC);
        assert!(events.wanted(1, false, 1), "without the feature, a slot that is named is none");
        events.ask(None);
        assert!(!events.wanted(1, false, 1) && !events.wanted(1, false, u64::MAX), "it polls, for however long");
        events.event_idx = true;
        for (asked, slot, wrap, count, wanted) in [
            ((3, true), 4, true, 1, true),
            ((3, true), 3, true, 1, false),
            ((3, true), 5, true, 1, false),
            ((3, true), 5, true, 2, true),
            ((5, true), 1, false, 2, true),
            ((5, true), 1, false, 1, false),
            ((1, false), 1, true, 6, true),
            ((1, false), 1, true, 5, false),
            ((5, true), 3, true, 9, false),
            ((5, true), 3, true, 10, true),
            ((3, true), 3, true, 11, false),
            ((3, true), 3, true, 12, true),
            ((4, false), 3, true, 65_536, true),
        ] {
            events.ask(Some(asked));
            assert_eq!(events.wanted(slot, wrap, count), wanted, "{asked:?} {slot} {wrap} {count}");
        }
    }

    /// The result is compared with counting, for all slots of a ring of 5 and for two laps and more behind each.
    #[test]
    fn a_slot_is_among_as_many_as_it_is_passed_by() {
        let lap = 5u32;
        let place = |at: u32| ((at % lap) as u16, (at / lap).is_multiple_of(2));
        let events = PackedEvents { desc: word(), flags: word(), event_idx: true, size: lap as u16 };
        for (asked, new, count) in (0..2 * lap).flat_map(|asked| {
            (2 * lap..4 * lap).flat_map(move |new| (0..2 * lap + 3).map(move |count| (asked, new, count)))
        }) {
            events.ask(Some(place(asked)));
            let (slot, wrap) = place(new);
            let passed = (1..=count).any(|back| (new + 2 * lap - back) % (2 * lap) == asked);
            assert_eq!(events.wanted(slot, wrap, count.into()), passed, "{asked} {new} {count}");
        }
    }
}
