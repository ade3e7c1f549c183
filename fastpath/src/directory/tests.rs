//! The reader beside the hosts' own writer, [`sluice_control::publish`]: under loom, which tries every order that the two can run in and every old
//! value that a load may still see, and with a writer that stops in the middle.

extern crate std;

use super::*;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use sluice_abi::directory::Directory as Layout;
use sluice_control::publish;
use std::cell::{Cell, RefCell};
use std::vec::Vec;
use zerocopy::IntoBytes;

/// Peer 1's entry after change `number`, in which all that changes follows from the number: an entry that mixes two is told by that.
fn entry(number: u32) -> Peer {
    let state = [PeerState::Absent, PeerState::Ready, PeerState::Revoked][number as usize % 3];
    let mut peer = Peer { state: state as u32, region_count: number, queue_count: number, ..Peer::default() };
    peer.queues[0].start = number;
    peer
}

/// The directory after change `number`.
fn after(number: u32) -> Layout {
    let mut directory = Layout { peer_count: 2, ..Layout::default() };
    directory.peers[1] = entry(number);
    directory
}

/// Peer 1's entry is that of one change, which is returned.
#[track_caller]
fn whole(peer: &Peer) -> u32 {
    let number = peer.region_count;
    assert!(*peer == entry(number), "a change was torn");
    number
}

fn words(directory: &Layout) -> Vec<u64> {
    directory.as_bytes().as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
}

/// A page of which loom knows those words that the changes write: that is the sequence number and three of peer 1's. `FENCED`: fences are there;
/// else they are left out.
#[derive(Clone)]
struct Model<const FENCED: bool> {
    fixed: std::sync::Arc<[u64]>,
    moving: Arc<Vec<(usize, AtomicU64)>>,
    /// Of the side that writes: what it wrote last, which is what it reads. (Loom looks at one access before a store, and would not try what the
    /// reader does if that one were the writer's own.)
    own: Option<RefCell<Vec<u64>>>,
}

impl<const FENCED: bool> Model<FENCED> {
    fn new(changes: &[Layout]) -> Self {
        let (fixed, other) = (words(&changes[0]), words(&changes[1]));
        let moves = |&index: &usize| index == word::SEQUENCE || fixed[index] != other[index];
        let moving: Vec<_> =
            (0..word::COUNT).filter(moves).map(|index| (index, AtomicU64::new(fixed[index]))).collect();
        assert_eq!(moving.len(), 4);
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
}

/// The host makes changes 1 to `last` while the VM looks: number of orders tried, in each of which one of the two has the other stand still at most
/// `preemptions` times.
fn looks_while_the_host_writes<const FENCED: bool>(last: u32, preemptions: usize) -> usize {
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
        let reader = spawn(move || {
            let (directory, mut seen) = (Directory(page), Seen::new());
            let before = look(&mut seen, &directory, 0);
            writer.join().expect("it does not panic");
            assert_eq!(look(&mut seen, &directory, before), last, "the last change was missed");
        });
        reader.join().expect("it does not panic");
    });
    runs.load(std::sync::atomic::Ordering::Relaxed)
}

/// A thread with room for directories.
fn spawn(work: impl FnOnce() + Send + 'static) -> loom::thread::JoinHandle<()> {
    loom::thread::Builder::new().stack_size(1 << 16).spawn(work).expect("a thread")
}

/// What number of change the VM knows of after it looked; before that it was `last`.
fn look<W: SharedWords>(seen: &mut Seen, directory: &Directory<W>, last: u32) -> u32 {
    let mut number = last;
    seen.refresh(directory, |index, peer| {
        assert_eq!(index, PeerIdx(1));
        number = whole(peer);
    });
    assert!(number >= last, "an older entry after a newer one");
    number
}

#[test]
fn between_any_two_writes_no_entry_is_torn_and_the_last_change_is_not_missed() {
    for (last, preemptions) in [(1, 2), (2, 1)] {
        let runs = looks_while_the_host_writes::<true>(last, preemptions);
        assert!(runs > 500, "loom tried {runs} orders only");
    }
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
}

impl<'t> Counted<'t> {
    fn new(before: &'t dyn Fn(&Counted<'_>)) -> Self {
        let words = RefCell::new(words(&after(0)));
        Self { words, loads: Cell::new(0), stores_left: Cell::new(usize::MAX), before }
    }

    fn loads_of<R>(&self, work: impl FnOnce() -> R) -> (usize, R) {
        let before = self.loads.get();
        let result = work();
        (self.loads.get() - before, result)
    }
}

#[test]
fn a_directory_that_says_what_it_said_costs_one_load_and_so_does_a_state() {
    let directory = Directory(Counted::new(&|_| ()));
    let mut seen = Seen::new();
    assert!(seen.refresh(&directory, |_, _| ()));
    assert_eq!(directory.0.loads_of(|| seen.refresh(&directory, |_, _| panic!("nothing changed"))), (1, true));
    assert_eq!(directory.0.loads_of(|| directory.state(1)), (1, PeerState::Absent));
    assert_eq!(directory.0.loads_of(|| directory.state(MAX_PEERS)), (0, PeerState::Absent));
    assert_eq!(directory.0.loads_of(|| directory.state(usize::MAX)), (0, PeerState::Absent));
}

/// A host that ends after any of its writes: nobody waits for it, nothing is known of any peer, and what the next host writes is seen.
#[test]
fn a_host_that_ended_while_it_wrote_is_not_waited_for() {
    for stores in 1.. {
        let directory = Directory(Counted::new(&|_| ()));
        let (mut seen, mut changes) = (Seen::new(), 0);
        assert!(seen.refresh(&directory, |_, _| ()));
        directory.0.stores_left.set(stores);
        publish(&directory.0, &after(1));
        let ended = directory.0.stores_left.get() > 0;
        if !ended && directory.0.words.borrow()[word::SEQUENCE] % 2 == 1 {
            for _ in 0..3 {
                let (loads, known) = directory.0.loads_of(|| seen.refresh(&directory, |_, _| changes += 1));
                assert!(!known && loads <= 2 * ATTEMPTS, "{loads} loads");
                assert_eq!(directory.peer(1), Err(PeerError::Busy));
            }
        }
        directory.0.stores_left.set(usize::MAX);
        publish(&directory.0, &after(2));
        assert!(seen.refresh(&directory, |_, peer| changes += whole(peer)));
        assert_eq!((changes, directory.peer(1)), (2, Ok(after(2).peers[1])));
        if ended {
            break;
        }
    }
}

/// A host that writes before each load of the reader's: that gives up, and says so.
#[test]
fn a_host_that_never_rests_is_not_waited_for() {
    let number = Cell::new(0);
    let busy = |page: &Counted<'_>| {
        number.set(number.get() + 1);
        let mut words = words(&after(number.get()));
        words[word::SEQUENCE] = u64::from(number.get()) * 2;
        *page.words.borrow_mut() = words;
    };
    let directory = Directory(Counted::new(&busy));
    assert!(!Seen::new().refresh(&directory, |_, _| panic!("an entry of no one moment")));
    assert_eq!(directory.peer(1), Err(PeerError::Busy));
    assert!(directory.0.loads.get() < 2 * ATTEMPTS * (word::COUNT + 2));
}

#[test]
fn a_place_that_the_directory_does_not_have_is_no_peer() {
    let directory = Directory(Counted::new(&|_| ()));
    assert_eq!(directory.peer(1), Ok(after(0).peers[1]));
    for index in [2, MAX_PEERS - 1, MAX_PEERS, usize::from(u16::MAX), usize::MAX] {
        assert_eq!(directory.peer(index), Err(PeerError::Unknown));
    }
    // Whatever lies behind the last peer, and whatever number of peers a host says.
    directory.0.words.borrow_mut()[word::GATE] = u64::MAX;
    assert_eq!(directory.peer(MAX_PEERS), Err(PeerError::Unknown));
}

#[test]
fn an_entry_that_does_not_count_is_not_attached() {
    let directory = Directory(Counted::new(&|_| ()));
    directory.0.words.borrow_mut()[word::peer(2)] = PeerState::Ready as u64;
    assert!(Seen::new().refresh(&directory, |index, peer| assert!(index < PeerIdx(2), "{peer:?}")));
}
