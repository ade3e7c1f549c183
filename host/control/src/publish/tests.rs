//! Pages that note what is written to them, and ones whose writer is stopped.

use super::*;
use alloc::vec::Vec;
use core::cell::RefCell;
use sluice_abi::directory::PeerState;

/// A page that notes every store, and takes only a given number of them.
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

    fn full() {}
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

    fn entry_sequence(&self, index: usize) -> u64 {
        self.load(entry(index) + word::PEER_SEQUENCE)
    }

    /// Whether it says what `directory` says, and nothing of any other peer but an entry's number.
    fn says(&self, directory: &Directory) -> bool {
        let sequence = |at: usize| at == word::PEER_SEQUENCE;
        !differs(self, 0, words(&header(directory)), is_sequence)
            && (0..MAX_PEERS).all(|index| !differs(self, entry(index), words(&peer(directory, index)), sequence))
    }
}

fn is_state(at: usize) -> bool {
    at >= word::HEADER_LEN && (at - word::HEADER_LEN) % word::PEER_LEN == word::PEER_STATE
}

fn directory(state: PeerState, start: u32) -> Directory {
    let ready = Peer { state: PeerState::Ready as u32, ..Peer::default() };
    let mut other = Peer { state: state as u32, vm_id: 3, mtu: start as u16, ..Peer::default() };
    other.queues[0].start = start;
    Directory { peers: alloc::vec![ready, other], ..Directory::default() }
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
        assert!(inner.is_sorted_by_key(|&index| is_state(index)), "{inner:?}");
    }
}

/// Whoever looks again looks at those entries whose number is another.
#[test]
fn an_entry_that_changes_gets_the_new_number_first_and_all_others_keep_theirs() {
    let page = Page::empty();
    let mut directory = Directory { peers: alloc::vec![Peer::default(); MAX_PEERS], ..Directory::default() };
    publish(&page, &directory);
    assert!((0..MAX_PEERS).all(|index| page.entry_sequence(index) == 0), "nothing is said of any");
    for index in [0, 1, 5, MAX_PEERS - 1, 5] {
        directory.peers[index].vm_id += 1;
        directory.peers[index].queues[sluice_abi::directory::MAX_QUEUES - 1].start += 1;
        let before: Vec<_> = (0..MAX_PEERS).map(|index| page.entry_sequence(index)).collect();
        page.stores.borrow_mut().clear();
        publish(&page, &directory);
        assert!(page.says(&directory));
        for (other, before) in before.into_iter().enumerate() {
            let number = if other == index { page.sequence() } else { before };
            assert_eq!(page.entry_sequence(other), number, "entry {other}");
        }
        let first = page.stores.borrow()[1];
        assert_eq!(first, (entry(index) + word::PEER_SEQUENCE, page.sequence()));
    }
}

#[test]
fn an_entry_that_is_not_listed_any_more_says_nothing() {
    let page = Page::empty();
    publish(&page, &directory(PeerState::Ready, 1));
    let fewer = Directory { peers: alloc::vec![directory(PeerState::Ready, 1).peers[0]], ..Directory::default() };
    publish(&page, &fewer);
    assert!(page.says(&fewer));
    assert_eq!((page.load(word::GATE) >> 32, page.entry_sequence(1)), (1, page.sequence()));
    let more = Directory { peers: alloc::vec![Peer::default(); MAX_PEERS + 1], ..Directory::default() };
    publish(&page, &more);
    assert_eq!(page.load(word::GATE) >> 32, MAX_PEERS as u64);
}

#[test]
fn what_is_said_already_is_not_written() {
    let page = Page::empty();
    publish(&page, &directory(PeerState::Ready, 1));
    page.stores.borrow_mut().clear();
    let mut same = directory(PeerState::Ready, 1);
    (same.header.sequence, same.peers[1].sequence) = (77, 78);
    publish(&page, &same);
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
            // Who knew the old entry learns that there is another.
            assert!(next == &old || page.entry_sequence(1) == page.sequence(), "{most} stores");
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
