//! Writer and reader under loom, which tries every order that the two can run in, and every old value that a load may
//! see: with all fences, and without those of either side.

use super::*;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;
use std::sync::atomic::AtomicUsize;

/// Slots of a ring, each of one word, behind the positions.
const SLOTS: usize = 2;
const RING: usize = 4;
/// Number of words that the writer writes.
const WORDS: u64 = 3;

/// Which fences there are.
const ALL: u8 = 0;
const NO_ACQUIRE: u8 = 1;
const NO_RELEASE: u8 = 2;

#[derive(Clone)]
struct Model<const FENCES: u8>(Arc<[AtomicU64; RING + SLOTS]>);

impl<const FENCES: u8> SharedWords for Model<FENCES> {
    fn load(&self, index: usize) -> u64 {
        self.0[index].load(Ordering::Relaxed)
    }

    fn store(&self, index: usize, word: u64) {
        self.0[index].store(word, Ordering::Relaxed);
    }

    fn acquire() {
        if FENCES != NO_ACQUIRE {
            fence(Ordering::Acquire);
        }
    }

    fn release() {
        if FENCES != NO_RELEASE {
            fence(Ordering::Release);
        }
    }

    fn full() {
        fence(Ordering::SeqCst);
    }
}

/// What is written at position `at`.
const fn value(at: u64) -> u64 {
    100 + at
}

/// Writes the word at `at`, whose place another one may have.
fn write<const FENCES: u8>(positions: &Positions<Model<FENCES>>, at: u64) {
    if let Some(oldest) = (at + 1).checked_sub(SLOTS as u64).filter(|oldest| *oldest > 0) {
        positions.give_up(oldest);
    }
    positions.0.store(RING + at as usize % SLOTS, value(at));
    positions.publish(at + 1);
}

/// Counts of what readers met: orders, whole words, overwritten words, and changes of the writer.
#[derive(Default)]
struct Met([AtomicUsize; 4]);

impl Met {
    fn count(&self, what: usize) {
        self.0[what].fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> [usize; 4] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

/// Lets a reader read the first two words while a writer writes more than the ring holds.
fn overwrite<const FENCES: u8>() -> [usize; 4] {
    let met = std::sync::Arc::new(Met::default());
    let seen = met.clone();
    loom::model(move || {
        seen.count(0);
        let positions = Positions(Model::<FENCES>(Arc::new(std::array::from_fn(|_| AtomicU64::new(0)))));
        let written = positions.clone();
        let writer = thread::spawn(move || (0..WORDS).for_each(|at| write(&written, at)));
        for at in 0..positions.published().min(SLOTS as u64) {
            let word = positions.0.load(RING + at as usize % SLOTS);
            if positions.is_whole(at) {
                assert_eq!(word, value(at), "a word was torn");
                seen.count(1);
            } else {
                seen.count(2);
            }
        }
        writer.join().expect("it does not panic");
    });
    met.counts()
}

/// Lets a reader look while another writer takes the place of the one that wrote the first word.
fn replace<const FENCES: u8>() -> [usize; 4] {
    let met = std::sync::Arc::new(Met::default());
    let seen = met.clone();
    loom::model(move || {
        seen.count(0);
        let positions = Positions(Model::<FENCES>(Arc::new(std::array::from_fn(|_| AtomicU64::new(0)))));
        write(&positions, 0);
        let written = positions.clone();
        let writer = thread::spawn(move || {
            written.begin(1);
            write(&written, 1);
        });
        let published = positions.published();
        let (generation, began) = positions.newest();
        assert!(published < 2 || generation == 1, "another writer's word came without it");
        if generation == 1 {
            assert_eq!(began, 1, "a writer came without its place");
            seen.count(3);
        }
        writer.join().expect("it does not panic");
    });
    met.counts()
}

#[test]
fn a_word_that_is_overwritten_while_it_is_read_is_known() {
    let [orders, whole, overwritten, _] = overwrite::<ALL>();
    assert!(orders > 100 && whole > 10 && overwritten > 10, "{orders} {whole} {overwritten}");
}

#[test]
#[should_panic(expected = "a word was torn")]
fn without_fences_of_the_reader_a_torn_word_is_believed() {
    overwrite::<NO_ACQUIRE>();
}

#[test]
#[should_panic(expected = "a word was torn")]
fn without_fences_of_the_writer_a_torn_word_is_believed() {
    overwrite::<NO_RELEASE>();
}

#[test]
fn another_writers_word_comes_with_its_number_and_place() {
    let [orders, _, _, new] = replace::<ALL>();
    assert!(orders > 10 && new > 3, "{orders} {new}");
}

#[test]
#[should_panic(expected = "came without")]
fn without_fences_another_writer_comes_without_its_place() {
    replace::<NO_RELEASE>();
}
