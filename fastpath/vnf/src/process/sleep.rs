//! Sleeping until a word of shared memory changes.
#![allow(unsafe_code, reason = "a futex is a word in shared memory")]

use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;
use sluice::WatchWord;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

/// Sleeps until `word` is no longer as it was seen and somebody wakes this process by the futex there, or `at_most` has passed.
pub fn until_changed(word: WatchWord, at_most: Duration) {
    let at = word.memory.as_ptr().cast::<AtomicU32>();
    if word.memory.len() < size_of::<AtomicU32>() as u64 || !at.is_aligned() {
        return thread::sleep(at_most);
    }
    // SAFETY: the slice is mapped for as long as this process lives, has four bytes there, and they are aligned; others change them by atomic
    // accesses only, and here nobody reads them but the kernel.
    let word_at = unsafe { AtomicU32::from_ptr(at.cast()) };
    let timeout = Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: at_most.subsec_nanos().into() };
    // Whether woken, too late, interrupted or changed before: the caller polls.
    let _ = futex::wait(word_at, Flags::empty(), word.seen, Some(&timeout));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::mapping::Slot;
    use sluice_abi::map::PAGE;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    fn word() -> WatchWord {
        let page = Slot::reserve().and_then(|slot| slot.map_private(0, PAGE)).expect("a page");
        let memory = page.sub(0, 4).expect("inside");
        WatchWord { memory, seen: 0 }
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
        let at = word.memory.as_ptr().addr();
        let waker = thread::spawn(move || {
            // SAFETY: the page is never unmapped, and the word is aligned.
            let word = unsafe { AtomicU32::from_ptr(at as *mut u32) };
            word.store(1, std::sync::atomic::Ordering::Release);
            // The other thread may not sleep yet.
            while futex::wake(word, Flags::empty(), 1).is_ok_and(|woken| woken == 0) && before.elapsed() < LONG / 2 {
                thread::yield_now();
                if word.load(std::sync::atomic::Ordering::Acquire) == 2 {
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
