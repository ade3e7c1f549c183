//! The reader beside the hosts' own writer, [`sluice_control::publish`]: under loom, which tries every order that the
//! two can run in and every old value that a load may still see, and with a writer that stops in the middle.

extern crate std;

use super::*;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use sluice_control::{Directory as Layout, publish};
use std::cell::{Cell, RefCell};
use std::vec::Vec;

/// The two peers whose entries change. They lie on different pages.
const ONE: PeerIdx = PeerIdx(1);
const OTHER: PeerIdx = PeerIdx(5);
const _: () = assert!(8 * word::peer(OTHER.get(), word::PEER_LEN) > 4096);

/// Returns an entry after its change `number`. All that changes follows from the number, so an entry that mixes two is
/// found.
fn entry(number: u32) -> Peer {
    let state = [PeerState::Absent, PeerState::Ready, PeerState::Revoked][number as usize % 3];
    Peer { state: state as u32, region_count: number, queue_count: number, ..Peer::default() }
}

/// Returns the changes of [`ONE`] and [`OTHER`] after change `number` of the directory: the first is of both, all
/// others of the other alone.
fn numbers(number: u32) -> [u32; 2] {
    [number.min(1), number]
}

/// Returns the directory after change `number`.
fn after(number: u32) -> Layout {
    let mut directory = Layout { peers: std::vec![Peer::default(); OTHER.get() + 1], ..Layout::default() };
    [ONE, OTHER]
        .into_iter()
        .zip(numbers(number))
        .for_each(|(index, number)| directory.peers[index.get()] = entry(number));
    directory
}

/// Asserts that the entry is of one change, and returns its number.
#[track_caller]
fn whole(peer: &Peer) -> u32 {
    let number = peer.region_count;
    assert!(Peer { sequence: 0, ..*peer } == entry(number), "a change was torn");
    number
}

/// Returns the words of a page after `changes` were published one after the other.
fn words(changes: &[Layout]) -> Vec<u64> {
    let page = Counted::new(&|_| ());
    changes.iter().for_each(|change| publish(&page, change));
    page.words.into_inner()
}

/// Pages of which loom knows those words that the changes write: those are the sequence number and three of each entry
/// that changes. `FENCED`: fences are there; else they are left out.
#[derive(Clone)]
struct Model<const FENCED: bool> {
    fixed: std::sync::Arc<[u64]>,
    moving: Arc<Vec<(usize, AtomicU64)>>,
    /// Of the side that writes: what it wrote last, which is what it reads. (Loom looks at one access before a store,
    /// and would not try what the reader does if that one were the writer's own.)
    own: Option<RefCell<Vec<u64>>>,
}

impl<const FENCED: bool> Model<FENCED> {
    fn new(changes: &[Layout]) -> Self {
        let (fixed, other) = (words(&changes[..1]), words(changes));
        let moves = |&index: &usize| fixed[index] != other[index];
        let moving: Vec<_> =
            (0..word::COUNT).filter(moves).map(|index| (index, AtomicU64::new(fixed[index]))).collect();
        assert_eq!(moving.len(), 7);
        Self { fixed: fixed.into(), moving: Arc::new(moving), own: None }
    }

    fn writer(&self) -> Self {
        Self { own: Some(RefCell::new(self.fixed.to_vec())), ..self.clone() }
    }

    fn place(&self, index: usize) -> Option<&AtomicU64> {
        self.moving.iter().find(|(known, _)| *known == index).map(|(_, place)| place)
    }
}

impl<const FENCED: bool> SharedWords for Model<FENCED> {
    fn load(&self, index: usize) -> u64 {
        match (&self.own, self.place(index)) {
            (Some(own), _) => own.borrow()[index],
            (None, Some(place)) => place.load(Ordering::Relaxed),
            (None, None) => self.fixed[index],
        }
    }

    fn store(&self, index: usize, word: u64) {
        self.own.as_ref().expect("only the host writes").borrow_mut()[index] = word;
        self.place(index).expect("no change writes another").store(word, Ordering::Relaxed);
    }

    fn acquire() {
        if FENCED {
            fence(Ordering::Acquire);
        }
    }

    fn release() {
        if FENCED {
            fence(Ordering::Release);
        }
    }

    fn full() {
        fence(Ordering::SeqCst);
    }
}

/// Lets the host make changes 1 to `last` while the VM looks, and returns the number of orders tried, in each of which
/// one has the other stand still at most `preemptions` times.
fn looks_while_the_host_writes<const FENCED: bool>(last: u32, preemptions: usize) -> usize {
    while_the_host_writes::<FENCED>(last, preemptions, move |directory, writer| {
        let mut seen = Seen::new();
        let before = look(&mut seen, directory, [0; 2]);
        writer.join().expect("it does not panic");
        assert_eq!(look(&mut seen, directory, before), numbers(last), "the last change was missed");
    })
}

/// Lets the host make changes 1 to `last` while the VM does `work`, which waits for the host. Returns the number of
/// orders.
fn while_the_host_writes<const FENCED: bool>(
    last: u32,
    preemptions: usize,
    work: impl Fn(&Directory<Model<FENCED>>, loom::thread::JoinHandle<()>) + Copy + Send + Sync + 'static,
) -> usize {
    let (changes, runs): (std::sync::Arc<[Layout]>, _) = ((0..=last).map(after).collect(), std::sync::Arc::default());
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 10_000;
    let count = std::sync::Arc::<std::sync::atomic::AtomicUsize>::clone(&runs);
    model.check(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let page = Model::<FENCED>::new(&changes);
        let (host, changes) = (page.writer(), changes.clone());
        let writer = spawn(move || changes[1..].iter().for_each(|change| publish(&host, change)));
        let reader = spawn(move || work(&new(page), writer));
        reader.join().expect("it does not panic");
    });
    runs.load(std::sync::atomic::Ordering::Relaxed)
}

/// A thread with room for directories.
fn spawn(work: impl FnOnce() + Send + 'static) -> loom::thread::JoinHandle<()> {
    loom::thread::Builder::new().stack_size(1 << 16).spawn(work).expect("a thread")
}

fn new<W: SharedWords>(words: W) -> Directory<W> {
    Directory::new(words, word::COUNT).expect("a whole directory")
}

/// Returns the changes of the two entries that the VM knows of after it looked; before, these were `last`.
fn look<W: SharedWords>(seen: &mut Seen, directory: &Directory<W>, last: [u32; 2]) -> [u32; 2] {
    let mut numbers = last;
    seen.refresh(directory, |index, peer| {
        let place = [ONE, OTHER].iter().position(|known| *known == index).expect("no other entry changes");
        numbers[place] = whole(peer);
    });
    assert!(numbers >= last && numbers[1] >= last[1], "an older entry after a newer one");
    numbers
}

#[test]
fn between_any_two_writes_no_entry_is_torn_and_the_last_change_is_not_missed() {
    for (last, preemptions) in [(1, 2), (2, 1)] {
        let runs = looks_while_the_host_writes::<true>(last, preemptions);
        assert!(runs > 500, "loom tried {runs} orders only");
    }
}

/// Reads a single entry.
#[test]
fn an_entry_that_is_asked_for_between_any_two_writes_is_of_one_moment() {
    let runs = while_the_host_writes::<true>(1, 2, |directory, writer| {
        if let Ok(peer) = directory.peer(OTHER) {
            whole(&peer);
        }
        writer.join().expect("it does not panic");
        assert_eq!(directory.peer(OTHER).map(|peer| whole(&peer)), Ok(1));
    });
    assert!(runs > 100, "loom tried {runs} orders only");
}

#[test]
#[should_panic(expected = "change was")]
fn without_fences_an_entry_is_torn_or_a_change_missed() {
    looks_while_the_host_writes::<false>(1, 2);
}

/// Ordinary words, of which the loads are counted; before each load, `before` is done.
struct Counted<'t> {
    words: RefCell<Vec<u64>>,
    loads: Cell<usize>,
    stores_left: Cell<usize>,
    before: &'t dyn Fn(&Counted<'_>),
}

impl SharedWords for Counted<'_> {
    fn load(&self, index: usize) -> u64 {
        (self.before)(self);
        self.loads.set(self.loads.get() + 1);
        self.words.borrow()[index]
    }

    fn store(&self, index: usize, word: u64) {
        if let Some(left) = self.stores_left.get().checked_sub(1) {
            self.stores_left.set(left);
            self.words.borrow_mut()[index] = word;
        }
    }

    fn acquire() {}

    fn release() {}

    fn full() {}
}

impl<'t> Counted<'t> {
    /// Returns a page of zeros.
    fn new(before: &'t dyn Fn(&Counted<'_>)) -> Self {
        let words = RefCell::new(std::vec![0; word::COUNT]);
        Self { words, loads: Cell::new(0), stores_left: Cell::new(usize::MAX), before }
    }

    /// Returns the directory before any change.
    fn directory(before: &'t dyn Fn(&Counted<'_>)) -> Directory<Self> {
        let page = Self { words: RefCell::new(words(&[after(0)])), ..Self::new(before) };
        page.loads.set(0);
        super::Directory { words: page, entry_len: word::PEER_LEN }
    }

    fn loads_of<R>(&self, work: impl FnOnce() -> R) -> (usize, R) {
        let before = self.loads.get();
        let result = work();
        (self.loads.get() - before, result)
    }
}

#[test]
fn a_directory_that_says_what_it_said_costs_one_load_and_so_does_a_state() {
    let directory = Counted::directory(&|_| ());
    let mut seen = Seen::new();
    assert!(seen.refresh(&directory, |_, _| ()));
    assert_eq!(directory.words.loads_of(|| seen.refresh(&directory, |_, _| panic!("nothing changed"))), (1, true));
    assert_eq!(directory.words.loads_of(|| directory.state(ONE)), (1, PeerState::Absent));
    assert_eq!(directory.words.loads_of(|| directory.state(PeerIdx(MAX_PEERS as u8))), (0, PeerState::Absent));
    assert_eq!(directory.words.loads_of(|| directory.state(PeerIdx(u8::MAX))), (0, PeerState::Absent));
}

/// Only entries that changed are read.
#[test]
fn of_a_directory_that_changed_those_entries_are_read_that_changed() {
    let directory = Counted::directory(&|_| ());
    let mut seen = Seen::new();
    assert!(seen.refresh(&directory, |_, _| ()));
    for number in 2..6 {
        publish(&directory.words, &after(number));
        let mut changed = Vec::new();
        let (loads, _) = directory.words.loads_of(|| seen.refresh(&directory, |index, _| changed.push(index)));
        assert_eq!(changed, if number == 2 { std::vec![ONE, OTHER] } else { std::vec![OTHER] });
        assert!(loads < MAX_PEERS + changed.len() * (word::PEER_LEN + 1) + 6, "{loads} loads");
    }
}

/// A host ends after any of its writes: nobody waits for it, nothing is known of any peer, and the directory that the
/// next host writes is seen.
#[test]
fn a_host_that_ended_while_it_wrote_is_not_waited_for() {
    for stores in 1.. {
        let directory = Counted::directory(&|_| ());
        let mut seen = Seen::new();
        assert!(seen.refresh(&directory, |_, _| ()));
        directory.words.stores_left.set(stores);
        publish(&directory.words, &after(1));
        let ended = directory.words.stores_left.get() > 0;
        if !ended && directory.words.words.borrow()[word::SEQUENCE] % 2 == 1 {
            for _ in 0..3 {
                let (loads, known) =
                    directory.words.loads_of(|| seen.refresh(&directory, |_, _| panic!("no entry is known")));
                assert!(!known && loads <= 4, "{loads} loads");
                assert_eq!(directory.peer(ONE), Err(PeerError::Busy));
            }
        }
        directory.words.stores_left.set(usize::MAX);
        publish(&directory.words, &after(2));
        assert_eq!(look(&mut seen, &directory, [0; 2]), numbers(2), "{stores} stores");
        assert_eq!([ONE, OTHER].map(|index| directory.peer(index).map(|peer| whole(&peer))), [Ok(1), Ok(2)]);
        if ended {
            break;
        }
    }
}

/// A host writes before each load of the reader, which gives up and reports that.
#[test]
fn a_host_that_never_rests_is_not_waited_for() {
    let number = Cell::new(2);
    let busy = |page: &Counted<'_>| {
        number.set(number.get() + 2);
        let mut words = page.words.borrow_mut();
        words[word::SEQUENCE] = number.get();
        words[word::peer(ONE.get(), word::PEER_LEN) + word::PEER_SEQUENCE] = number.get();
    };
    let directory = Counted::directory(&busy);
    assert!(!Seen::new().refresh(&directory, |_, _| panic!("an entry of no one moment")));
    assert_eq!(directory.peer(ONE), Err(PeerError::Busy));
    assert!(directory.words.loads.get() < 4 * (word::COUNT + 2));
}

/// Returns the directory of two peers.
fn two() -> Directory<Counted<'static>> {
    let directory = Counted::directory(&|_| ());
    publish(&directory.words, &Layout { peers: std::vec![entry(1); 2], ..Layout::default() });
    directory
}

#[test]
fn an_index_that_the_directory_does_not_have_is_no_peer() {
    let directory = two();
    assert_eq!(directory.peer(ONE).map(|peer| whole(&peer)), Ok(1));
    for index in [2, 7, MAX_PEERS as u8 - 1, MAX_PEERS as u8, u8::MAX].map(PeerIdx) {
        assert_eq!(directory.peer(index), Err(PeerError::Unknown));
        assert_eq!(directory.state(index), PeerState::Absent);
    }
    // The words behind the last peer, and the number of peers, may have any value.
    directory.words.words.borrow_mut()[word::GATE] = u64::MAX;
    assert_eq!(directory.peer(PeerIdx(MAX_PEERS as u8)), Err(PeerError::Unknown));
}

#[test]
fn an_entry_that_does_not_count_is_not_attached() {
    let directory = two();
    let mut words = directory.words.words.borrow_mut();
    words[word::peer(2, word::PEER_LEN) + word::PEER_STATE] = PeerState::Ready as u64;
    words[word::peer(2, word::PEER_LEN) + word::PEER_SEQUENCE] = 2;
    drop(words);
    assert!(Seen::new().refresh(&directory, |index, peer| assert!(index < PeerIdx(2), "{peer:?}")));
}

/// A peer that the directory no longer lists is absent.
#[test]
fn an_entry_that_no_longer_counts_is_detached() {
    let directory = Counted::directory(&|_| ());
    let mut seen = Seen::new();
    publish(&directory.words, &after(1));
    assert!(seen.refresh(&directory, |_, _| ()));
    publish(&directory.words, &fewer());
    let mut gone = Vec::new();
    assert!(seen.refresh(&directory, |index, peer| gone.push((index, peer.state))));
    assert_eq!(gone.last(), Some(&(OTHER, PeerState::Absent as u32)));
    assert!(seen.refresh(&directory, |_, _| panic!("nothing is new")));
}

/// Returns two of the peers after change 1.
fn fewer() -> Layout {
    Layout { peers: after(1).peers[..2].to_vec(), ..Layout::default() }
}
