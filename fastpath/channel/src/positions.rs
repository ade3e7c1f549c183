//! The writer's words, and the order in which both sides touch them and the ring. See: [`sluice_abi::channel`].
//!
//! ```text
//! writer                                  reader
//! give_up:  OLDEST = ...                  published: ... = PUBLISHED
//!           release                                  acquire
//!           bytes are written                        bytes are copied
//! publish:  release                       is_whole:  acquire
//!           PUBLISHED = ...                          OLDEST <= where the copy began?
//! ```
//!
//! A reader that copied one byte of what was written behind [`Positions::give_up`] sees the new `OLDEST`, as release
//! and acquire order them. So whatever it copied is whole, or it knows better.

use sluice_abi::channel::word::{BEGAN, GENERATION, OLDEST, PUBLISHED};
use sluice_memory::SharedWords;

/// The words of [`sluice_abi::channel::word`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Positions<W>(pub W);

impl<W: SharedWords> Positions<W> {
    /// Returns up to where bytes are written. What is copied after this is what was written before it was published.
    #[inline(always)]
    pub fn published(&self) -> u64 {
        let position = self.0.load(PUBLISHED);
        W::acquire();
        position
    }

    /// Returns before where bytes may be overwritten.
    #[inline(always)]
    pub fn oldest(&self) -> u64 {
        let position = self.0.load(OLDEST);
        W::acquire();
        position
    }

    /// Returns whether bytes from `at` on, which were copied before this, were not given up before they were copied.
    #[inline(always)]
    pub fn is_whole(&self, at: u64) -> bool {
        W::acquire();
        self.0.load(OLDEST) <= at
    }

    /// Returns the number of the newest writer.
    #[inline(always)]
    pub fn generation(&self) -> u64 {
        self.0.load(GENERATION)
    }

    /// Returns the number of the newest writer, and where it, or one after it, began.
    pub fn newest(&self) -> (u64, u64) {
        let generation = self.0.load(GENERATION);
        W::acquire();
        (generation, self.0.load(BEGAN))
    }

    /// Gives up the bytes before `to`. What is written after this may lie over them.
    #[inline(always)]
    pub fn give_up(&self, to: u64) {
        self.0.store(OLDEST, to);
        W::release();
    }

    /// Publishes the bytes before `to`, which were written before this.
    #[inline(always)]
    pub fn publish(&self, to: u64) {
        W::release();
        self.0.store(PUBLISHED, to);
    }

    /// Says that another writer begins at `at`. What it publishes comes after this.
    pub fn begin(&self, at: u64) {
        let generation = self.0.load(GENERATION).wrapping_add(1);
        self.0.store(BEGAN, at);
        W::release();
        self.0.store(GENERATION, generation);
        W::release();
    }
}

// loom's threads can't be interpreted.
#[cfg(all(test, not(miri)))]
mod tests;
