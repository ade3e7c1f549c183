//! A record of two cache lines, which a reader takes whole or not at all: an entry with a masked key, a subtable with
//! its mask, or a list of actions.
//!
//! ```text
//! word 0      stamp: generation (63:32), subtable (31:24), list of actions (23:0)
//! word 1, 2   epochs in which the record is born and dies
//! word 3-15   key, of which a short one ends with the first line
//! ```
//!
//! The generation is odd while the record is written, and another one after each time. A list of actions is 16 words,
//! without a stamp: it stays as it is while an entry that names it may be read.

use crate::action::{ActionList, LIST_WORDS};
use crate::key::{Key, SHORT, WORDS};
use core::array;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::fence;
use sluice_memory::CacheLine;

const BORN: usize = 1;
const DIES: usize = 2;
const KEY: usize = 3;

const _: () = assert!(KEY + SHORT == CacheLine::WORDS && KEY + WORDS == 2 * CacheLine::WORDS);
const _: () = assert!(LIST_WORDS == 2 * CacheLine::WORDS);

/// Word 0 of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64);

impl Stamp {
    const WRITING: u64 = 1 << 32;

    #[inline(always)]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub const fn subtable(self) -> u8 {
        (self.0 >> 24) as u8
    }

    #[inline(always)]
    pub const fn list(self) -> u32 {
        self.0 as u32 & 0xff_ffff
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Record<'m>(pub &'m [CacheLine; 2]);

impl<'m> Record<'m> {
    /// Begins to fetch the first line, and with `LONG` the second one.
    #[inline(always)]
    pub fn prefetch<const LONG: bool>(self) {
        self.0[0].prefetch();
        if LONG {
            self.0[1].prefetch();
        }
    }

    #[inline(always)]
    fn word(self, at: usize) -> &'m AtomicU64 {
        &self.0[at / CacheLine::WORDS % 2].words()[at % CacheLine::WORDS]
    }

    #[inline(always)]
    pub fn stamp(self) -> Stamp {
        Stamp(self.word(0).load(Acquire))
    }

    /// Returns the stamp and what `read` made of the record, if nothing changed meanwhile.
    fn steady<T>(self, read: impl Fn() -> T) -> Option<(Stamp, T)> {
        let stamp = self.stamp();
        if stamp.0 & Stamp::WRITING != 0 {
            return None;
        }
        let value = read();
        self.still(stamp).then_some((stamp, value))
    }

    /// Returns whether the stamp is still `stamp`, so that all that was read before was whole.
    #[inline(always)]
    pub fn still(self, stamp: Stamp) -> bool {
        fence(Acquire);
        self.word(0).load(Relaxed) == stamp.0
    }

    #[inline(always)]
    pub fn lives(self, epoch: u64) -> bool {
        self.word(BORN).load(Relaxed) <= epoch && epoch < self.word(DIES).load(Relaxed)
    }

    /// Returns the stamp, if the record lives in `epoch`, `is_right` says so of the stamp, and the first words of its
    /// key, or `LONG` all, are those of `word`. Each word is read once.
    #[inline(always)]
    pub fn matches<const LONG: bool>(
        self,
        epoch: u64,
        is_right: impl Fn(Stamp) -> bool,
        word: impl Fn(usize) -> u64,
    ) -> Option<Stamp> {
        // As in `steady`: a closure around all of this is not always inlined.
        let stamp = self.stamp();
        if stamp.0 & Stamp::WRITING != 0 || !is_right(stamp) {
            return None;
        }
        let mut differs = 0;
        for at in 0..if LONG { WORDS } else { SHORT } {
            differs |= self.word(KEY + at).load(Relaxed) ^ word(at);
        }
        (differs == 0 && self.lives(epoch) && self.still(stamp)).then_some(stamp)
    }

    /// Returns the stamp and the key.
    pub fn whole(self) -> Option<(Stamp, Key)> {
        self.steady(|| Key::from_words(array::from_fn(|at| self.word(KEY + at).load(Relaxed))))
    }

    /// Writes a key that is born at `born` and does not die, and gives the record its next generation, which
    /// it returns.
    pub fn write(self, subtable: u8, list: u32, born: u64, key: &Key) -> u32 {
        let writing = self.begin();
        self.word(BORN).store(born, Relaxed);
        self.word(DIES).store(u64::MAX, Relaxed);
        (0..).zip(key.words()).for_each(|(at, &word)| self.word(KEY + at).store(word, Relaxed));
        let stamp = writing | u64::from(subtable) << 24 | u64::from(list & 0xff_ffff);
        let stamp = Stamp(stamp.wrapping_add(Stamp::WRITING));
        self.word(0).store(stamp.0, Release);
        stamp.generation()
    }

    /// Lets the record die at `epoch`: whoever reads it sees either end of its life, and both are true.
    pub fn die(self, epoch: u64) {
        self.word(DIES).store(epoch, Release);
    }

    /// Takes the record away from all who read it from now on, and from those who are reading it.
    pub fn revoke(self) {
        let writing = self.begin();
        self.word(DIES).store(0, Relaxed);
        self.word(0).store(writing.wrapping_add(Stamp::WRITING), Release);
    }

    /// Makes the generation odd, and returns the stamp without subtable and list.
    fn begin(self) -> u64 {
        let generation = self.word(0).load(Relaxed) >> 32 & !1;
        let writing = generation << 32 | Stamp::WRITING;
        self.word(0).store(writing, Relaxed);
        fence(Release);
        writing
    }

    /// Returns word `at` of the list of actions that the record is. Few lists have a second line.
    #[inline(always)]
    pub fn list_word(self, at: usize) -> Option<u64> {
        match self.0[0].words().get(at) {
            Some(word) => Some(word.load(Relaxed)),
            None => self.second_line(at),
        }
    }

    #[cold]
    fn second_line(self, at: usize) -> Option<u64> {
        (at < LIST_WORDS).then(|| self.word(at).load(Relaxed))
    }

    /// Returns the list of actions that the record is.
    #[inline(always)]
    pub fn list(self) -> ActionList {
        ActionList::unchecked(array::from_fn(|at| self.word(at).load(Relaxed)))
    }

    /// Writes a list of actions.
    pub fn write_list(self, list: &ActionList) {
        list.words().iter().enumerate().for_each(|(at, &word)| self.word(at).store(word, Release));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(word: u64) -> Key {
        Key::from_words([word; WORDS])
    }

    /// The record becomes another one, in the middle of a comparison that would find each word equal.
    #[test]
    fn a_record_that_changes_while_it_is_read_matches_nothing() {
        for change in 0..=SHORT {
            let lines = [CacheLine::default(), CacheLine::default()];
            let record = Record(&lines);
            record.write(3, 0, 0, &key(1));
            // What is asked for is what was read just before.
            let changed = record.matches::<false>(
                5,
                |_| true,
                |at| {
                    if at == change {
                        record.write(3, 1, 0, &key(2));
                    }
                    if at <= change { 1 } else { 2 }
                },
            );
            assert_eq!(changed.is_some(), change == SHORT, "{change}");
        }
    }

    #[test]
    fn a_record_that_is_written_matches_nothing() {
        let lines = [CacheLine::default(), CacheLine::default()];
        let record = Record(&lines);
        record.write(3, 7, 2, &key(1));
        let matches = |epoch| record.matches::<true>(epoch, |_| true, |_| 1);
        let stamp = matches(2).expect("whole");
        assert_eq!((stamp.generation(), stamp.subtable(), stamp.list(), matches(1)), (2, 3, 7, None));
        let word = record.word(0).load(Relaxed);
        record.begin();
        assert_eq!((matches(2), record.whole()), (None, None));
        record.word(0).store(word, Relaxed);
        assert_eq!(matches(2), Some(stamp));
        record.revoke();
        assert_eq!((matches(2), record.stamp().generation(), record.still(stamp)), (None, 4, false));
    }
}
