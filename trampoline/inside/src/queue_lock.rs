//! The lock of a queue that several producers fill, each for one burst. Layout: [`sluice_abi::queue_lock`].
//!
//! A burst in a split ring becomes visible by its one store to `used.idx`. So whoever ends with the lock has published
//! all of a burst or nothing, the index in the ring says where the next producer goes on, and to free the lock of one
//! that has ended is all that a host has to do. Of a packed ring the page says where that is, and who has the lock next
//! completes the burst: `queue/packed/shared.rs`.
//!
//! # Why not a futex
//! A producer that sleeps on the lock trusts its owner to wake it, and each owner would have to make sure. A burst
//! takes about a microsecond; who does not get the lock in a few of them keeps the frames, as with a full ring.

use core::sync::atomic::{AtomicU32, Ordering};
use sluice_abi::call::MAX_BURST;
use sluice_abi::queue_lock::{FREE, MAX_OWNER, PROGRESS, Progress, counter};
use sluice_memory::{PeerSlice, SharedWords, Table};

/// How many times a producer looks whether the lock is free. (Tests look fewer times, as loom tries every order.)
const LOOKS: u32 = if cfg!(test) { 2 } else { 256 };

/// The owner word: every producer may write it at any time.
pub trait OwnerWord {
    /// Returns the word.
    fn load(&self) -> u32;
    /// Replaces `old` by `new`, and returns `true`, if the word is `old`. What was written before the word became `old`
    /// is seen after that.
    fn replace(&self, old: u32, new: u32) -> bool;
    /// Writes the word. Whoever replaces it sees everything that was written before.
    fn store(&self, word: u32);
}

impl OwnerWord for &AtomicU32 {
    #[inline(always)]
    fn load(&self) -> u32 {
        AtomicU32::load(self, Ordering::Relaxed)
    }

    #[inline(always)]
    fn replace(&self, old: u32, new: u32) -> bool {
        self.compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline(always)]
    fn store(&self, word: u32) {
        AtomicU32::store(self, word, Ordering::Release);
    }
}

/// The lock of a queue, by its owner word.
#[derive(Clone, Copy, Debug)]
pub struct QueueLock<W>(W);

impl<W: OwnerWord> QueueLock<W> {
    /// Returns the lock with this owner word.
    pub const fn new(word: W) -> Self {
        Self(word)
    }

    /// Takes the lock by the owner word `mine`, if it is free within some microseconds. The owner then goes on where
    /// the one before came: [`crate::DeviceQueue::enter`].
    #[must_use = "the queue is another producer's without the lock"]
    pub fn take(&self, mine: u32) -> bool {
        let look = |_| {
            let taken = self.take_now(mine);
            // The window image, whose host shares no queue, does without PAUSE.
            if !taken && cfg!(not(target_os = "none")) {
                core::hint::spin_loop();
            }
            taken
        };
        (0..LOOKS).any(look)
    }

    /// Takes the lock as [`QueueLock::take`] does, if it is free now.
    #[must_use = "the queue is another producer's without the lock"]
    pub fn take_now(&self, mine: u32) -> bool {
        self.0.load() == FREE && self.0.replace(FREE, mine)
    }

    /// Leaves the lock to others, after all that its owner has written.
    pub fn release(&self) {
        self.0.store(FREE);
    }

    /// Returns the owner word at this moment.
    pub fn holder(&self) -> u32 {
        self.0.load()
    }

    /// Takes the lock by the owner word `mine` from its owner by the word `holder`, who writes nothing any more.
    /// Returns `false` if the lock has another owner by now.
    #[must_use = "the queue is another producer's without the lock"]
    pub fn take_over(&self, holder: u32, mine: u32) -> bool {
        self.0.replace(holder, mine)
    }
}

/// The page with the lock of a queue, as one that shares it has it mapped.
#[derive(Clone, Copy, Debug)]
pub struct LockPage<'m> {
    /// The lock.
    pub lock: QueueLock<&'m AtomicU32>,
    page: PeerSlice<'m>,
    /// The word with the progress, and the journal.
    words: Table<'m, u64>,
}

impl<'m> LockPage<'m> {
    /// Returns the lock in `page`; `None` if that is no page.
    pub fn new(page: PeerSlice<'m>) -> Option<Self> {
        let words = page.table(PROGRESS, 1 + MAX_BURST as u16)?;
        Some(Self { lock: QueueLock::new(page.atomic32(0)?), page, words })
    }

    /// Returns how far the producers of a packed queue came, read once. What was noted before is seen after that.
    pub fn progress(&self) -> Progress {
        let word = self.words.load(0);
        Table::acquire();
        Progress::from_word(word)
    }

    /// Writes how far the producers of a packed queue came, after all that its owner has written.
    pub fn set_progress(&self, progress: Progress) {
        Table::release();
        self.words.store(0, progress.to_word());
    }

    /// Returns the word of the journal for the slot at `place` of the burst, or 0 if the journal is shorter.
    pub fn noted(&self, place: u16) -> u64 {
        self.words.load(1 + usize::from(place))
    }

    /// Writes the word of the journal for the slot at `place` of the burst, or nothing if the journal is shorter.
    pub fn note(&self, place: u16, word: u64) {
        self.words.store(1 + usize::from(place), word);
    }

    /// Adds `buffers` to what `owner` has published.
    pub fn count(&self, owner: u16, buffers: u32) {
        if let Some(count) = self.counter(owner) {
            // Only this owner writes here, or who spoils it.
            count.store(count.load(Ordering::Relaxed).wrapping_add(buffers), Ordering::Relaxed);
        }
    }

    /// Returns how many buffers `owner` has published, modulo 2^32.
    pub fn published(&self, owner: u16) -> u32 {
        self.counter(owner).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn counter(&self, owner: u16) -> Option<&AtomicU32> {
        self.page.atomic32(counter(owner)).filter(|_| owner <= MAX_OWNER)
    }
}

#[cfg(test)]
mod tests;
