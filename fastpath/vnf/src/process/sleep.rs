//! Sleeping until a word of shared memory changes.

use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;
use sluice::WatchWord;
use std::thread;
use std::time::Duration;

/// Sleeps until `word` is no longer as it was seen and somebody wakes this process by the futex there, or `at_most` has
/// passed.
pub fn until_changed(word: WatchWord, at_most: Duration) {
    let Some(place) = word.memory.atomic32(0) else { return thread::sleep(at_most) };
    let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: at_most.subsec_nanos().into() };
    // The caller polls, whatever ended the sleep.
    let _ = futex::wait(place, Flags::empty(), word.seen, Some(&timeout));
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice::PeerSlice;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    fn word() -> WatchWord {
        WatchWord { memory: PeerSlice::from_mut(vec![0u32].leak()), seen: 0 }
    }

    #[test]
    fn nobody_sleeps_on_a_word_that_has_changed() {
        let word = word();
        word.memory.write(0, 1u32).expect("inside");
        let before = Instant::now();
        until_changed(word, LONG);
        assert!(before.elapsed() < LONG / 2);
    }

    #[test]
    fn a_sleep_ends_when_its_time_is_over() {
        let (word, time, before) = (word(), Duration::from_millis(5), Instant::now());
        until_changed(word, time);
        assert!((time..LONG / 2).contains(&before.elapsed()));
    }

    #[test]
    fn who_changes_the_word_can_wake_the_sleeper() {
        let (word, before) = (word(), Instant::now());
        let place = word.memory.atomic32(0).expect("aligned");
        let waker = thread::spawn(move || {
            place.store(1, std::sync::atomic::Ordering::Release);
            // The other thread may not sleep yet.
            while futex::wake(place, Flags::empty(), 1).is_ok_and(|woken| woken == 0) && before.elapsed() < LONG / 2 {
                thread::yield_now();
                if place.load(std::sync::atomic::Ordering::Acquire) == 2 {
                    break;
                }
            }
        });
        until_changed(word, LONG);
        word.memory.write(0, 2u32).expect("inside");
        waker.join().expect("no panic");
        assert!(before.elapsed() < LONG / 2);
    }
}
