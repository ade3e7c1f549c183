//! A sender beside a host that takes its peer away: under loom, which tries every order that the two can run in and
//! every old value that a load may still see.

extern crate std;

use super::*;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use sluice_control::Call;

/// The word of the directory that says whether the peer is ready, and a word of the peer's memory.
const READY: usize = 0;
const PEER: usize = 1;

/// Those words, and the word of the calls. `FENCED`: the full fence is there.
#[derive(Clone)]
struct Model<const FENCED: bool>(Arc<[AtomicU64; 3]>);

impl<const FENCED: bool> SharedWords for Model<FENCED> {
    fn load(&self, index: usize) -> u64 {
        self.0[if index == CALLS { 2 } else { index }].load(Ordering::Relaxed)
    }

    fn store(&self, index: usize, word: u64) {
        self.0[if index == CALLS { 2 } else { index }].store(word, Ordering::Relaxed);
    }

    fn acquire() {
        fence(Ordering::Acquire);
    }

    fn release() {
        fence(Ordering::Release);
    }

    fn full() {
        if FENCED {
            fence(Ordering::SeqCst);
        }
    }
}

/// The host takes the peer away, waits for the call that may be under way, and then the peer's memory is another's.
fn beside_a_host<const FENCED: bool>() {
    loom::model(|| {
        let words = Model::<FENCED>(Arc::new([1, 0, 0].map(AtomicU64::new)));
        let mut calls = Calls::new(words.clone());
        let sender = loom::thread::spawn(move || {
            calls.begin();
            if calls.words.load(READY) == 1 {
                calls.words.store(PEER, 1);
            }
            calls.end();
        });
        words.store(READY, 0);
        if let Some(call) = Call::under_way(&words) {
            while !call.is_over(&words) {
                loom::thread::yield_now();
            }
        }
        words.store(PEER, 2);
        sender.join().unwrap();
        assert_eq!(words.load(PEER), 2, "a sender wrote into memory that was taken away");
    });
}

#[test]
fn nobody_writes_into_the_memory_of_a_peer_that_was_taken_away() {
    beside_a_host::<true>();
}

#[test]
#[should_panic(expected = "a sender wrote into memory that was taken away")]
fn without_the_fence_a_sender_writes_into_it() {
    beside_a_host::<false>();
}

#[test]
fn a_call_is_under_way_until_it_ends_and_the_next_one_is_another() {
    let mut memory = std::vec![0u64; CALLS + 1];
    memory[CALLS] = 6;
    let words = sluice_memory::PeerSlice::from_mut(&mut memory).table::<u64>(0, CALLS as u16 + 1).unwrap();
    let mut calls = Calls::new(words);
    assert_eq!(Call::under_way(&words), None);
    calls.begin();
    let call = Call::under_way(&words).expect("a call");
    assert!(!call.is_over(&words));
    calls.end();
    assert!(call.is_over(&words) && Call::under_way(&words).is_none());
    calls.begin();
    assert!(call.is_over(&words) && Call::under_way(&words).is_some());
}
