//! All orders in which two sides of a queue can see each other's writes, tried one by one: publishing, and asking to be told.
//!
//! Each model has a twin in which the order that it is about is missing; that one must fail, or the model shows nothing.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU16, AtomicU64, Ordering, fence};
use loom::thread;
use sluice_abi::RingIdx;
use sluice_memory::{PackedEvents, SharedWord, SplitEvents};

/// A word of the model's memory. `FENCED`: full fences are there; else they are left out.
#[derive(Clone)]
struct Word<const FENCED: bool>(Arc<AtomicU16>);

impl<const FENCED: bool> Word<FENCED> {
    fn new(value: u16) -> Self {
        Self(Arc::new(AtomicU16::new(value)))
    }
}

impl<const FENCED: bool> SharedWord for Word<FENCED> {
    fn load_acquire(&self) -> u16 {
        self.0.load(Ordering::Acquire)
    }

    fn store_release(&self, value: u16) {
        self.0.store(value, Ordering::Release);
    }

    fn full_fence() {
        if FENCED {
            fence(Ordering::SeqCst);
        }
    }
}

/// Elements, then the index, with `order`; who sees the index reads the elements.
fn published_through_an_index(order: Ordering) {
    loom::model(move || {
        let elements = Arc::new([UnsafeCell::new(0u32), UnsafeCell::new(0)]);
        let index = Arc::new(AtomicU16::new(0));
        let (written, shown) = (elements.clone(), index.clone());
        let producer = thread::spawn(move || {
            for (place, element) in written.iter().enumerate() {
                element.with_mut(|at| set(at, place as u32 + 7));
                shown.store(place as u16 + 1, order);
            }
        });
        let seen = index.load(Ordering::Acquire);
        for (place, element) in elements.iter().enumerate().take(seen.into()) {
            assert_eq!(element.with(get), place as u32 + 7);
        }
        producer.join().expect("it does not panic");
    });
}

#[allow(unsafe_code, reason = "loom's cells hand out pointers, and report every access that could race")]
fn set(at: *mut u32, value: u32) {
    // SAFETY: the pointer is the cell's own, valid while the closure runs.
    unsafe { *at = value };
}

#[allow(unsafe_code, reason = "as in set")]
fn get(at: *const u32) -> u32 {
    // SAFETY: as in set.
    unsafe { *at }
}

#[test]
fn who_sees_the_index_sees_the_elements() {
    published_through_an_index(Ordering::Release);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn without_release_the_elements_may_be_missing() {
    published_through_an_index(Ordering::Relaxed);
}

/// A chain of two packed descriptors: the second first, the first one's flags last, with `order`. Who sees the first takes both.
fn published_through_the_first_of_a_chain(order: Ordering) {
    loom::model(move || {
        let slots = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let written = slots.clone();
        let producer = thread::spawn(move || {
            written[1].store(9, Ordering::Relaxed);
            written[0].store(8, order);
        });
        if slots[0].load(Ordering::Acquire) != 0 {
            assert_eq!(slots[1].load(Ordering::Relaxed), 9, "the chain is shown in part");
        }
        producer.join().expect("it does not panic");
    });
}

#[test]
fn who_sees_the_first_slot_sees_the_whole_chain() {
    published_through_the_first_of_a_chain(Ordering::Release);
}

#[test]
#[should_panic(expected = "shown in part")]
fn without_release_a_chain_may_be_shown_in_part() {
    published_through_the_first_of_a_chain(Ordering::Relaxed);
}

/// One side publishes an entry of a split ring and notifies if that is wanted; the other one asks, looks once more, and then sleeps.
/// With an event index, or by flags.
fn split_handshake<const FENCED: bool>(event_idx: bool) {
    loom::model(move || {
        let index = Word::<FENCED>::new(0);
        // Suppressed: by the flag, or by an event that is far away.
        let flags = Word::<FENCED>::new(u16::from(!event_idx));
        let event = event_idx.then(|| Word::<FENCED>::new(u16::MAX));
        let events = SplitEvents { flags, event };
        let (shown, asked) = (index.clone(), events.clone());
        let publisher = thread::spawn(move || {
            shown.store_release(1);
            asked.wanted(RingIdx(1), 1)
        });
        events.ask(Some(RingIdx(0)));
        let seen = index.load_acquire() == 1;
        let notified = publisher.join().expect("it does not panic");
        assert!(seen || notified, "a lost notification");
    });
}

/// The same of a packed ring, where the index is the descriptor's flags.
fn packed_handshake<const FENCED: bool>(event_idx: bool) {
    loom::model(move || {
        let descriptor = Word::<FENCED>::new(0);
        let word = Word::<FENCED>::new;
        // 1: notify of nothing.
        let events = PackedEvents { desc: word(0), flags: word(1), event_idx, size: 4 };
        let (shown, asked) = (descriptor.clone(), events.clone());
        let publisher = thread::spawn(move || {
            shown.store_release(1 << 7);
            asked.wanted(3, true, 1)
        });
        events.ask(Some((2, true)));
        let seen = descriptor.load_acquire() != 0;
        let notified = publisher.join().expect("it does not panic");
        assert!(seen || notified, "a lost notification");
    });
}

#[test]
fn no_notification_of_a_split_ring_is_lost() {
    split_handshake::<true>(false);
    split_handshake::<true>(true);
}

#[test]
#[should_panic(expected = "a lost notification")]
fn without_fences_a_split_ring_loses_one_by_flags() {
    split_handshake::<false>(false);
}

#[test]
#[should_panic(expected = "a lost notification")]
fn without_fences_a_split_ring_loses_one_by_event_index() {
    split_handshake::<false>(true);
}

#[test]
fn no_notification_of_a_packed_ring_is_lost() {
    packed_handshake::<true>(false);
    packed_handshake::<true>(true);
}

#[test]
#[should_panic(expected = "a lost notification")]
fn without_fences_a_packed_ring_loses_one_by_flags() {
    packed_handshake::<false>(false);
}

#[test]
#[should_panic(expected = "a lost notification")]
fn without_fences_a_packed_ring_loses_one_by_slot() {
    packed_handshake::<false>(true);
}
