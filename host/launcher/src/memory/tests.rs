//! A driver chooses on which word its process sleeps.

use super::*;
use rustix::event::Timespec;
use rustix::thread::gettid;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc;
use std::{fs, thread};

const LEN: u64 = 0x1000;

/// Sends the id of this thread to `who`, and sleeps on `word`.
fn sleep_on(word: &AtomicU32, who: &mpsc::Sender<i32>) {
    who.send(gettid().as_raw_nonzero().get()).expect("the test");
    // The limit is longer than any test run.
    let limit = Timespec { tv_sec: 100_000, tv_nsec: 0 };
    futex::wait(word, Flags::empty(), 0, Some(&limit)).expect("woken");
}

fn is_asleep(thread: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).expect("a thread");
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}

/// The driver chooses the address: no address outside its RAM wakes, and none that is not aligned.
#[test]
fn a_word_that_is_not_in_ram_or_not_aligned_is_no_futex() {
    let file = ram("a", 2 * LEN).expect("RAM");
    let all = map(&file, 2 * LEN).expect("a mapping");
    let ram = all.sub(0, LEN).expect("inside");
    let (send, receive) = mpsc::channel();
    let behind = all.atomic32(LEN).expect("aligned");
    let sleeper = thread::spawn(move || sleep_on(behind, &send));
    let thread = receive.recv().expect("a thread");
    while !is_asleep(thread) {
        thread::yield_now();
    }
    for at in [LEN, LEN - 2, LEN - 1, 2, 1, u64::MAX, u64::MAX - 3] {
        assert!(!wake(ram, Gpa(at)), "{at:#x}");
    }
    assert!(wake(all, Gpa(LEN)), "it was asleep until now");
    sleeper.join().expect("no panic");
}
