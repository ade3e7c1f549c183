//! All orders in which two sides of a queue can see each other's writes, tried one by one: publishing, and asking to be
//! told.
//!
//! Each model has a twin in which the order that it is about is missing; that one must fail, or the model shows
//! nothing.

use loom::sync::atomic::{AtomicU16, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
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

/// One side publishes an entry of a split ring and notifies if that is wanted; the other one asks, looks once more, and
/// then sleeps. With an event index, or by flags.
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

/// A futex: who waits looks at the word and falls asleep in one step, as seen by who wakes. See: futex(2).
#[derive(Clone, Default)]
struct Futex(Arc<(Mutex<bool>, Condvar)>);

impl Futex {
    fn wait<const FENCED: bool>(&self, word: &Word<FENCED>, seen: u16) {
        let (asleep, woken) = &*self.0;
        let mut asleep = asleep.lock().expect("nobody panics");
        *asleep = word.load_acquire() == seen;
        while *asleep {
            asleep = woken.wait(asleep).expect("nobody panics");
        }
    }

    fn wake(&self) {
        let (asleep, woken) = &*self.0;
        *asleep.lock().expect("nobody panics") = false;
        woken.notify_one();
    }
}

/// The switch puts a frame into a split ring and wakes who asked for that; the driver asks, looks once more, and sleeps
/// on the index. A lost wake-up is a deadlock.
fn sleep<const FENCED: bool>(event_idx: bool) {
    loom::model(move || {
        let (index, futex) = (Word::<FENCED>::new(0), Futex::default());
        let flags = Word::<FENCED>::new(u16::from(!event_idx));
        let events = SplitEvents { flags, event: event_idx.then(|| Word::<FENCED>::new(u16::MAX)) };
        let (shown, asked, sleeper) = (index.clone(), events.clone(), futex.clone());
        let publisher = thread::spawn(move || {
            shown.store_release(1);
            if asked.wanted(RingIdx(1), 1) {
                sleeper.wake();
            }
        });
        events.ask(Some(RingIdx(0)));
        if index.load_acquire() == 0 {
            futex.wait(&index, 0);
        }
        publisher.join().expect("it does not panic");
        assert_eq!(index.load_acquire(), 1);
    });
}

#[test]
fn no_wake_up_of_a_driver_that_sleeps_is_lost() {
    sleep::<true>(false);
    sleep::<true>(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_a_driver_sleeps_for_ever_by_flags() {
    sleep::<false>(false);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_fences_a_driver_sleeps_for_ever_by_event_index() {
    sleep::<false>(true);
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
