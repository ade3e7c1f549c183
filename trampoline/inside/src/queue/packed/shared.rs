//! A packed ring that others fill, too, under a lock: where they came, and bursts that they did not bring to an end.
//! Layout: [`sluice_abi::queue_lock`].
//!
//! | step | what the page says | who ends behind it |
//! |---|---|---|
//! | the journal is written | position before the burst | has published nothing |
//! | the progress is written | the same, and the number of slots | has published all: the next owner writes them |
//! | the slots are written, the first one last | the same | the same; if the first is used, nothing is to be written |
//! | the progress is written | position behind the burst | has published all |
//!
//! Whoever shares the page can write it at any time. What it says is read once, and bounded: no slot outside of the
//! ring is written, and none gets what is no used descriptor. Beyond that it is the ring of the peer that is spoiled,
//! which who can write the page can do without it.

use super::{Packed, SKIP};
use crate::LockPage;
use crate::queue::position::Position;
use sluice_abi::call::{Clause, MAX_BURST};
use sluice_abi::queue_lock::Progress;

impl Packed {
    /// Shows the driver everything pending, so that whoever gets the lock after this one has ended can do the rest.
    pub fn publish_under(&mut self, page: &LockPage<'_>) {
        let (at, pending) = self.cursor.get();
        if pending == 0 {
            return;
        }
        (0..).zip(self.shadow.iter().take(pending.into())).for_each(|(place, word)| page.note(place, word.get()));
        let published = page.progress().published;
        page.set_progress(Progress { position: at.to_base() as u16, burst: pending, published });
        self.publish();
        self.set_progress(page, published.wrapping_add(pending.into()));
    }

    /// Goes on where the owner before came, and completes the burst that it did not bring to an end.
    pub fn enter(&mut self, page: &LockPage<'_>) -> Result<(), Clause> {
        let left = page.progress();
        self.go_to(&left)?;
        self.count_from(left.published);
        if left.burst > 0 {
            self.complete(&left, page);
            self.seen = self.seen.wrapping_add(left.burst.into());
            self.leave(page);
        }
        Ok(())
    }

    /// Goes on where the owner before came, as far as that is published. Returns how many slots further on that is.
    pub fn catch_up(&mut self, page: &LockPage<'_>) -> Result<u32, Clause> {
        let now = page.progress();
        self.go_to(&now)?;
        Ok(self.count_from(now.published))
    }

    /// Writes the position of what is published for the next owner. What is published since [`Packed::enter`] is not
    /// counted.
    pub fn leave(&self, page: &LockPage<'_>) {
        self.set_progress(page, self.seen);
    }

    fn set_progress(&self, page: &LockPage<'_>, published: u32) {
        page.set_progress(Progress { position: self.base() as u16, burst: 0, published });
    }

    /// Goes to a position that another producer has written, if `progress` is one of this ring.
    fn go_to(&mut self, progress: &Progress) -> Result<(), Clause> {
        let at = Position { slot: progress.position & 0x7fff, wrap: progress.position >> 15 == 1 };
        if at.slot >= self.size() || progress.burst > self.size().min(MAX_BURST as u16) {
            return Err(Clause::Layout);
        }
        self.cursor.set(at, 0);
        self.chains = false;
        Ok(())
    }

    /// Counts what others have published, which is `published` in all. Returns how much of it is new.
    fn count_from(&mut self, published: u32) -> u32 {
        let more = published.wrapping_sub(self.seen);
        self.seen = published;
        self.considered += u64::from(more);
        more
    }

    /// Publishes the burst that the journal has, unless it is published. [`Packed::publish_again`] counts it.
    fn complete(&mut self, left: &Progress, page: &LockPage<'_>) {
        let (at, _) = self.cursor.get();
        for (place, shadow) in (0..left.burst).zip(&self.shadow) {
            shadow.set(used_word(page.noted(place), at.advance(place, self.ring.size())));
        }
        self.chains = true;
        self.cursor.set(at, left.burst);
        self.publish_again();
    }
}

/// Returns `word`, which another producer has noted for the slot at `at`, as a word of the shadow: a used descriptor
/// there, or [`SKIP`].
fn used_word(word: u64, at: Position) -> u64 {
    if word & SKIP != 0 { SKIP } else { word & !(0xffff << 48) | u64::from(at.used(word as u32).bits()) << 48 }
}

#[cfg(test)]
mod tests;
