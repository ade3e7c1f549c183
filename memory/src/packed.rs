//! The ring of a packed virtqueue, whose descriptors both sides write. See: VIRTIO 2.8 "Packed Virtqueues".

use crate::Table;
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use sluice_abi::{Gpa, packed};

impl Table<'_, packed::Desc> {
    #[inline(always)]
    fn desc(&self, slot: u16) -> Option<&[AtomicU64; 2]> {
        self.words().get(usize::from(slot))
    }

    /// Returns the last word of the descriptor in `slot`: length, id, flags. Everything its writer wrote before it is
    /// seen after it.
    #[inline(always)]
    pub fn load_acquire(&self, slot: u16) -> Option<u64> {
        Some(self.desc(slot)?[1].load(Ordering::Acquire))
    }

    /// Returns where the buffer of the descriptor in `slot` is, read once.
    #[inline(always)]
    pub fn addr(&self, slot: u16) -> Option<Gpa> {
        Some(Gpa(self.desc(slot)?[0].load(Ordering::Relaxed)))
    }

    /// Writes where the buffer of the descriptor in `slot` is. A slot outside the ring is left out.
    #[inline(always)]
    pub fn set_addr(&self, slot: u16, addr: Gpa) {
        if let Some(desc) = self.desc(slot) {
            desc[0].store(addr.0, Ordering::Relaxed);
        }
    }

    /// Writes the last word of the descriptor in `slot`. Whoever sees it sees everything written before it. A slot
    /// outside the ring is left out.
    #[inline(always)]
    pub fn store_release(&self, slot: u16, word: u64) {
        if let Some(desc) = self.desc(slot) {
            desc[1].store(word, Ordering::Release);
        }
    }

    /// Writes the last words of the descriptors from `slot` on, the first one last. Whoever sees one sees everything
    /// written before it. Slots outside the ring are left out.
    #[inline(always)]
    pub fn store_release_all(&self, slot: u16, words: &[Cell<u64>]) {
        let descs = self.words().get(usize::from(slot)..).unwrap_or_default();
        let count = words.len().min(descs.len());
        let (descs, words) = (&descs[..count], &words[..count]);
        // Each turn writes several, as the compiler unrolls no loop of atomic accesses.
        let ((turns, rest), (turns_of_words, rest_of_words)) = (descs.as_chunks::<8>(), words.as_chunks::<8>());
        store_backwards(rest, rest_of_words);
        for (descs, words) in turns.iter().zip(turns_of_words).rev() {
            for at in (0..8).rev() {
                descs[at][1].store(words[at].get(), Ordering::Release);
            }
        }
    }

    /// Writes as [`Self::store_release_all`] does, but leaves out the words that are `skip`.
    #[inline(always)]
    pub fn store_release_some(&self, slot: u16, words: &[Cell<u64>], skip: u64) {
        let descs = self.words().get(usize::from(slot)..).unwrap_or_default();
        let count = words.len().min(descs.len());
        for (desc, word) in descs[..count].iter().zip(&words[..count]).rev().filter(|(_, word)| word.get() != skip) {
            desc[1].store(word.get(), Ordering::Release);
        }
    }
}

/// Writes the last word of each of `descs`, which are as many as `words`, the first one last.
#[inline(always)]
fn store_backwards(descs: &[[AtomicU64; 2]], words: &[Cell<u64>]) {
    for (desc, word) in descs.iter().zip(words).rev() {
        desc[1].store(word.get(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::PeerSlice;

    /// Returns the last words of a ring of 20 descriptors after `write`, all of which were 9.
    fn written(write: impl Fn(&Table<'_, packed::Desc>)) -> std::vec::Vec<u64> {
        let mut words = std::vec![9u64; 40];
        let ring = PeerSlice::from_mut(&mut words).table::<packed::Desc>(0, 20).expect("aligned");
        write(&ring);
        assert_eq!((ring.load_acquire(20), ring.addr(20)), (None, None));
        assert!((0..20).all(|slot| ring.addr(slot) == Some(Gpa(9))), "addresses stay");
        (0..20).map(|slot| ring.load_acquire(slot).expect("inside")).collect()
    }

    #[test]
    fn each_word_is_written_into_its_slot_and_none_behind_the_ring() {
        for (first, count) in [(0, 0), (3, 1), (0, 7), (5, 8), (1, 13), (2, 17), (0, 20), (12, 20), (20, 4), (60, 1)] {
            let words: std::vec::Vec<_> = (0..count).map(|at| Cell::new(100 + at as u64)).collect();
            let expected = |skip: Option<u64>| -> std::vec::Vec<u64> {
                let word = |slot: usize| slot.checked_sub(first).and_then(|at| words.get(at)).map(Cell::get);
                (0..20).map(|slot| word(slot).filter(|&word| Some(word) != skip).unwrap_or(9)).collect()
            };
            assert_eq!(written(|ring| ring.store_release_all(first as u16, &words)), expected(None));
            assert_eq!(written(|ring| ring.store_release_some(first as u16, &words, 101)), expected(Some(101)));
        }
        let one = written(|ring| {
            [(4, 7), (20, 1), (u16::MAX, 1)].into_iter().for_each(|(at, to)| ring.store_release(at, to))
        });
        assert_eq!(one, (0..20).map(|slot| if slot == 4 { 7 } else { 9 }).collect::<std::vec::Vec<_>>());
    }
}
