//! Two producers and a host under loom, which tries every order that they can run in and every old value that a load
//! may still see.

use super::*;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU32 as ModelWord;
use sluice_abi::queue_lock::word;

/// An owner word that loom watches. `ORDERED`: the accesses order others.
#[derive(Clone)]
struct Model<const ORDERED: bool>(Arc<ModelWord>);

impl<const ORDERED: bool> OwnerWord for Model<ORDERED> {
    fn load(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn replace(&self, old: u32, new: u32) -> bool {
        let order = if ORDERED { Ordering::Acquire } else { Ordering::Relaxed };
        self.0.compare_exchange(old, new, order, Ordering::Relaxed).is_ok()
    }

    fn store(&self, word: u32) {
        self.0.store(word, if ORDERED { Ordering::Release } else { Ordering::Relaxed });
    }
}

/// Two producers take the lock, and go on where the one before came.
fn two_producers<const ORDERED: bool>() {
    loom::model(|| {
        let owner = Model::<ORDERED>(Arc::new(ModelWord::new(FREE)));
        let [position, bursts] = [0; 2].map(|count| Arc::new(ModelWord::new(count)));
        let producer = |number: u16| {
            let (lock, position, bursts) = (QueueLock::new(owner.clone()), position.clone(), bursts.clone());
            move || {
                if lock.take(word(number, 1)) {
                    position.store(position.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    bursts.fetch_add(1, Ordering::Relaxed);
                    lock.release();
                }
            }
        };
        let other = loom::thread::spawn(producer(1));
        producer(2)();
        other.join().unwrap();
        let [position, bursts] = [position, bursts].map(|count| count.load(Ordering::Relaxed));
        assert!(bursts > 0 && owner.load() == FREE);
        assert_eq!(position, bursts, "a burst is where another was");
    });
}

#[test]
#[cfg_attr(miri, ignore = "loom's threads can't be interpreted")]
fn two_producers_are_never_inside_at_once() {
    two_producers::<true>();
}

#[test]
#[cfg_attr(miri, ignore = "loom's threads can't be interpreted")]
#[should_panic(expected = "a burst is where another was")]
fn without_an_order_a_burst_is_where_another_was() {
    two_producers::<false>();
}

#[test]
fn a_lock_is_taken_over_from_the_burst_that_was_seen_and_no_other() {
    let mut memory = vec![0_u64; 512];
    let page = LockPage::new(PeerSlice::from_mut(&mut memory)).unwrap();
    let (first, next) = (word(7, 0xffff), word(7, 0));
    assert!(page.lock.take(first) && !page.lock.take(next) && !page.lock.take_now(first));
    assert_eq!(page.lock.holder(), first);
    assert!(!page.lock.take_over(next, word(8, 0)), "it left, and is in another burst");
    assert!(page.lock.take_over(first, word(8, 0)) && !page.lock.take_now(next));
    assert_eq!(page.lock.holder(), word(8, 0));
    page.lock.release();
    assert_eq!(page.lock.holder(), FREE);
}

#[test]
fn each_owner_has_a_counter_that_wraps() {
    let mut memory = vec![0_u64; 512];
    let page = LockPage::new(PeerSlice::from_mut(&mut memory)).unwrap();
    for (owner, buffers) in [(1, 3), (MAX_OWNER, u32::MAX), (MAX_OWNER, 5), (MAX_OWNER + 1, 9), (u16::MAX, 9)] {
        page.count(owner, buffers);
    }
    assert_eq!([1, 2, MAX_OWNER, MAX_OWNER + 1].map(|owner| page.published(owner)), [3, 0, 4, 0]);
    assert_eq!((page.lock.holder(), memory[PROGRESS as usize / 8 - 1] >> 32), (FREE, 4));
    assert_eq!(memory[PROGRESS as usize / 8..], [0; 257], "what is behind the counters is no owner's");
    assert!(LockPage::new(PeerSlice::from_mut(&mut [0_u64; 511])).is_none());
}
