//! Writing a window directory while its VM reads it: the one writer of all hosts.

use sluice_abi::directory::{Directory, word};
use sluice_memory::SharedWords;
use zerocopy::IntoBytes;

/// Makes `page`, which nobody else writes, say what `new` says; nothing is written if it does. The sequence number is the page's own, not `new`'s.
///
/// In the order that [`sluice_abi::directory`] promises: the sequence number becomes odd, then what differs is written, the peers' states last,
/// then the number becomes even. Between the two there are stores and nothing that can fail.
///
/// # Why it compares with the page
/// What the host remembers of the page is no more true once a writer was stopped in the middle (its thread was ended, or it panicked in `page`).
/// The page itself tells what is missing, so the next call makes it whole, whatever the last one left. No VM can write it.
pub fn publish<W: SharedWords>(page: &W, new: &Directory) {
    let words = || (0..).zip(new.as_bytes().as_chunks().0).map(|(index, bytes)| (index, u64::from_le_bytes(*bytes)));
    let before = page.load(word::SEQUENCE);
    let differs = |&(index, word): &(usize, u64)| index != word::SEQUENCE && page.load(index) != word;
    if before.is_multiple_of(2) && !words().any(|word| differs(&word)) {
        return;
    }
    let odd = before | 1;
    page.store(word::SEQUENCE, odd);
    W::release();
    words()
        .filter(|&(index, _)| !word::is_state(index))
        .filter(differs)
        .for_each(|(index, word)| page.store(index, word));
    W::release();
    words()
        .filter(|&(index, _)| word::is_state(index))
        .filter(differs)
        .for_each(|(index, word)| page.store(index, word));
    W::release();
    page.store(word::SEQUENCE, odd.wrapping_add(1));
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::cell::RefCell;
    use sluice_abi::directory::{Peer, PeerState};

    /// A page that notes every store, and that takes so many and no more.
    struct Page {
        words: RefCell<Vec<u64>>,
        stores: RefCell<Vec<(usize, u64)>>,
        most: usize,
    }

    impl SharedWords for Page {
        fn load(&self, index: usize) -> u64 {
            self.words.borrow()[index]
        }

        fn store(&self, index: usize, word: u64) {
            let mut stores = self.stores.borrow_mut();
            if stores.len() < self.most {
                stores.push((index, word));
                self.words.borrow_mut()[index] = word;
            }
        }

        fn acquire() {}

        fn release() {}
    }

    impl Page {
        fn holding(words: Vec<u64>, most: usize) -> Self {
            Self { words: RefCell::new(words), stores: RefCell::new(Vec::new()), most }
        }

        fn empty() -> Self {
            Self::holding(alloc::vec![0; word::COUNT], usize::MAX)
        }

        fn sequence(&self) -> u64 {
            self.load(word::SEQUENCE)
        }

        /// Whether it says what `directory` says.
        fn says(&self, directory: &Directory) -> bool {
            let said = Directory { sequence: self.sequence(), ..*directory };
            self.words.borrow().as_bytes() == said.as_bytes()
        }
    }

    fn directory(state: PeerState, start: u32) -> Directory {
        let mut directory = Directory { peer_count: 2, ..Directory::default() };
        directory.peers[1] = Peer { state: state as u32, vm_id: 3, mtu: start as u16, ..Peer::default() };
        directory.peers[1].queues[0].start = start;
        directory.peers[0].state = PeerState::Ready as u32;
        directory
    }

    #[test]
    fn every_change_begins_odd_ends_even_and_says_states_last() {
        let page = Page::empty();
        let mut last = 0;
        for (state, start) in
            [(PeerState::Absent, 0), (PeerState::Ready, 1), (PeerState::Ready, 2), (PeerState::Revoked, 2)]
        {
            page.stores.borrow_mut().clear();
            publish(&page, &directory(state, start));
            assert!(page.says(&directory(state, start)));
            assert!(page.sequence() > last && page.sequence().is_multiple_of(2));
            last = page.sequence();
            let stores = page.stores.borrow();
            let ((first, odd), (end, even)) = (stores[0], stores[stores.len() - 1]);
            assert_eq!((first, odd % 2, end, even), (word::SEQUENCE, 1, word::SEQUENCE, odd + 1));
            let inner: Vec<_> = stores[1..stores.len() - 1].iter().map(|&(index, _)| index).collect();
            assert!(!inner.is_empty() && !inner.contains(&word::SEQUENCE));
            assert!(inner.is_sorted_by_key(|&index| word::is_state(index)), "{inner:?}");
        }
    }

    #[test]
    fn what_is_said_already_is_not_written() {
        let page = Page::empty();
        publish(&page, &directory(PeerState::Ready, 1));
        page.stores.borrow_mut().clear();
        publish(&page, &Directory { sequence: 77, ..directory(PeerState::Ready, 1) });
        assert!(page.stores.borrow().is_empty());
    }

    #[test]
    fn a_writer_that_was_stopped_anywhere_leaves_an_odd_number_and_the_next_one_a_whole_directory() {
        let (old, new) = (directory(PeerState::Ready, 1), directory(PeerState::Revoked, 2));
        let page = Page::empty();
        publish(&page, &old);
        let words = page.words.borrow().clone();
        publish(&page, &new);
        let all = page.stores.borrow().len();
        for most in 1..all {
            let stopped = Page::holding(words.clone(), most);
            publish(&stopped, &new);
            let ended = stopped.says(&new) && stopped.sequence().is_multiple_of(2);
            assert!(ended || stopped.sequence() % 2 == 1, "{most} stores");
            // Whatever it says next, the old again or the new.
            for next in [&old, &new] {
                let page = Page::holding(stopped.words.borrow().clone(), usize::MAX);
                publish(&page, next);
                assert!(page.says(next) && page.sequence().is_multiple_of(2), "{most} stores");
                assert!(page.sequence() > words[word::SEQUENCE], "{most} stores");
            }
        }
    }

    #[test]
    fn a_number_that_wraps_is_still_another() {
        let page = Page::empty();
        page.words.borrow_mut()[word::SEQUENCE] = u64::MAX - 1;
        publish(&page, &directory(PeerState::Ready, 1));
        assert_eq!(page.sequence(), 0);
        assert!(page.says(&directory(PeerState::Ready, 1)));
    }
}
