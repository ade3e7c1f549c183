//! Look-up of a burst, in phases: each phase goes over all keys before the next one begins, so that the memory that one
//! phase asks for arrives while others are asked for.

use super::front::Front;
use super::hash::{Place, Seed};
use super::record::Stamp;
use super::{COUNT, LEASE, ORDER, Parts, SUBTABLES, Shape, ShapeError};
use crate::action::{ActionList, Plan, Verdict, follow, go};
use crate::epoch;
use crate::head::Head;
use crate::key::{Key, WORDS};
use crate::parse::Parsed;
use crate::report::Report;

use core::cell::Cell;
use core::iter;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use sluice::FrameMut;
use sluice_memory::CacheLine;

/// Number of keys that are looked up at once; more are looked up one such burst after the other.
pub const BURST: usize = 32;
/// Number of subtables up to which each key is looked up in them alone: a look-up in the front costs about as much as
/// one in a subtable, and two if it was in vain.
const WITHOUT_FRONT: usize = 2;
/// The number of no list.
const NONE: u32 = u32::MAX;

/// The entry that a key matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Number of the entry, below [`Shape::entries`] where the table is its writer's.
    pub entry: u32,
    stamp: Stamp,
}

impl Hit {
    /// Returns the generation of the entry, which tells its flow from those that had the entry before.
    #[inline(always)]
    pub const fn generation(&self) -> u32 {
        self.stamp.generation()
    }
}

/// A subtable as it was read last.
#[derive(Clone, Copy, Debug, Default)]
struct Subtable {
    stamp: Option<Stamp>,
    mask: [u64; WORDS],
    /// The mask has bits behind its first words.
    long: bool,
    /// It lives in the epoch of the burst.
    live: bool,
}

/// The reader of a table. Each thread has its own.
#[derive(Debug)]
pub struct Reader<'m> {
    parts: Parts<'m>,
    seed: Seed,
    front: Option<Front<'m>>,
    subtables: [Subtable; SUBTABLES],
    searched: u64,
    /// The number of the list that was read last for this look-up, or [`NONE`], and what it does if it is a plain one.
    list: Cell<u32>,
    plan: Cell<Option<Plan>>,
}

impl<'m> Reader<'m> {
    /// Returns a reader of the table in `memory`, whose shape and seed are its writer's. A front is used where the
    /// table has more than two subtables.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn new(
        memory: &'m [CacheLine],
        shape: Shape,
        seed: Seed,
        front: Option<Front<'m>>,
    ) -> Result<Self, ShapeError> {
        let parts = Parts::of(memory, shape)?;
        let (subtables, list, plan) = (Default::default(), Cell::new(NONE), Cell::default());
        Ok(Self { parts, seed, front, subtables, searched: 0, list, plan })
    }

    /// Returns the epoch that its writer published last, for a reader that nobody waits for.
    #[inline]
    pub fn epoch(&self) -> u64 {
        epoch::load(&self.parts.header)
    }

    /// Returns the number of subtables in which keys were looked up: of each key as many as that took.
    #[inline]
    pub const fn searched(&self) -> u64 {
        self.searched
    }

    /// Begins a burst at time `now`, and returns its epoch; `None` if the table's lease is over, so that the burst has
    /// no entries. The ticks are those of the clock by which the host wrote the [lease](super::Writer::lease), whether
    /// the burst then goes to the slow path or is dropped is the caller's. [`Reader::end`] follows in either case.
    #[inline]
    pub fn begin(&self, report: &mut Report<&CacheLine>, now: u64) -> Option<u64> {
        let epoch = report.begin(&self.parts.header);
        (now < self.parts.header.words()[LEASE].load(Relaxed)).then_some(epoch)
    }

    /// Ends a burst: its last window is closed, its counts are added, and no hit of it is used any more.
    #[inline]
    pub fn end(&self, report: &mut Report<&CacheLine>) {
        report.end(self.epoch());
    }

    /// Looks up each of `keys`, and writes to the same place of `hits` which entry of `epoch` it matches.
    pub fn look_up<K: AsRef<Key>>(&mut self, epoch: u64, keys: &[K], hits: &mut [Option<Hit>]) {
        self.list.set(NONE);
        for (keys, hits) in keys.chunks(BURST).zip(hits.chunks_mut(BURST)) {
            self.burst(&Burst { epoch, keys }, hits);
        }
    }

    /// Returns the actions of the entry that was hit; `None` if the entry is another one by now, which is a miss.
    #[inline]
    pub fn actions(&self, hit: &Hit) -> Option<ActionList> {
        let list = self.parts.list(hit.stamp.list()).list();
        self.parts.entry(hit.entry).still(hit.stamp).then_some(list)
    }

    /// Does the actions of the entry that was hit on `frame`, of which `head` was loaded, and `parsed` is what
    /// [`Parsed::of`] made of it. `None` if the entry is another one by now, which is a miss: the frame is as it was.
    /// A frame that is dropped is as it was, too. The head is to be loaded again before it is used again.
    ///
    /// This does what [`ActionList::apply`] does with the list of [`Reader::actions`]. A list is read once for the hits
    /// of a look-up that follow each other and have it: it stays as it is for as long as an entry names it. Whether the
    /// hit's entry still does is known before anything of the frame changes.
    #[inline]
    pub fn apply(&self, hit: &Hit, frame: &mut FrameMut<'_>, head: &mut Head, parsed: &Parsed) -> Option<Verdict> {
        let (number, entry) = (hit.stamp.list(), self.parts.entry(hit.entry));
        if self.list.get() != number {
            self.read_plan(number);
        }
        let is_whole = || entry.still(hit.stamp);
        match self.plan.get() {
            Some(plan) => follow(&plan, is_whole, frame, head, parsed),
            None => {
                let list = self.parts.list(number);
                go(&|at| list.list_word(at), is_whole, frame, head, parsed)
            }
        }
    }

    /// Reads a list, and notes what it does.
    #[cold]
    fn read_plan(&self, number: u32) {
        let list = self.parts.list(number);
        self.list.set(number);
        self.plan.set(Plan::of(|at| list.list_word(at)));
    }

    fn burst<K: AsRef<Key>>(&mut self, burst: &Burst<'_, K>, hits: &mut [Option<Hit>]) {
        hits.fill(None);
        let [count, order] = [COUNT, ORDER].map(|at| self.parts.header.words()[at].load(Acquire));
        let count = (count as usize).min(SUBTABLES);
        let mut pending = u32::MAX >> (BURST - burst.keys.len().min(hits.len()).clamp(1, BURST));
        let mut places = [Place(0); BURST];
        let has_front = count > WITHOUT_FRONT && self.front.is_some();
        if has_front {
            (0..SUBTABLES).for_each(|number| self.refresh(number, burst.epoch));
            pending = self.front_pass(burst, &mut places, pending, hits);
        }
        let missed = pending;
        for place in 0..count {
            let number = (order >> (4 * place)) as usize % SUBTABLES;
            if pending == 0 {
                break;
            }
            self.refresh(number, burst.epoch);
            if !self.subtables[number].live {
                continue;
            }
            self.searched += u64::from(pending.count_ones());
            pending = match (&self.subtables[number], self.parts.only(number)) {
                (Subtable { long: true, .. }, Some(only)) => {
                    self.only_pass::<true, _>(number, only, burst, pending, hits)
                }
                (Subtable { .. }, Some(only)) => self.only_pass::<false, _>(number, only, burst, pending, hits),
                (Subtable { long: true, .. }, None) => self.subtable_pass::<true, _>(number, burst, pending, hits),
                (Subtable { .. }, None) => self.subtable_pass::<false, _>(number, burst, pending, hits),
            };
        }
        if let Some(front) = self.front.as_mut().filter(|_| has_front) {
            front.note(missed & !pending, &places, hits);
        }
    }

    /// Reads the subtable anew if it is another one by now, and notes whether it lives.
    fn refresh(&mut self, number: usize, epoch: u64) {
        let (known, now) = (&mut self.subtables[number], self.parts.subtable(number as u64));
        if known.stamp != Some(now.stamp()) {
            *known = now.whole().map_or_else(Subtable::default, |(stamp, mask)| Subtable {
                stamp: Some(stamp),
                mask: *mask.words(),
                long: mask.is_long(),
                live: false,
            });
        }
        known.live = known.stamp.is_some() && now.lives(epoch);
    }

    /// Looks the keys of `pending` up in the front, and returns those that it does not have. Their places are in
    /// `places` afterwards.
    fn front_pass<K: AsRef<Key>>(
        &self,
        burst: &Burst<'_, K>,
        places: &mut [Place; BURST],
        pending: u32,
        hits: &mut [Option<Hit>],
    ) -> u32 {
        let Some(front) = &self.front else { return pending };
        for at in bits(pending) {
            places[at] = Front::place(&self.seed, burst.key(at));
        }
        for at in bits(pending) {
            self.parts.entry(front.get(places[at]).0).prefetch::<false>();
        }
        let mut missed = pending;
        for at in bits(pending) {
            let (entry, generation) = front.get(places[at]);
            hits[at] = self.compare_by_itself(burst, burst.key(at), entry, generation);
            missed ^= u32::from(hits[at].is_some()) << at;
        }
        missed
    }

    /// Returns the entry, if it is of this generation and matches `key` under its own subtable's mask.
    #[inline(always)]
    fn compare_by_itself<K>(&self, burst: &Burst<'_, K>, key: &Key, entry: u32, generation: u32) -> Option<Hit> {
        let record = self.parts.entry(entry);
        let seen = record.stamp();
        let subtable = self.subtables.get(usize::from(seen.subtable())).filter(|it| it.live)?;
        if seen.generation() != generation {
            return None;
        }
        let (words, mask) = (key.words(), &subtable.mask);
        let (is_right, word) = (|stamp| stamp == seen, |at: usize| words[at] & mask[at]);
        let stamp = if subtable.long {
            record.matches::<true>(burst.epoch, is_right, word)?
        } else {
            record.matches::<false>(burst.epoch, is_right, word)?
        };
        Some(Hit { entry, stamp })
    }

    /// Compares the keys of `pending` with the only entry of a subtable, and returns those that it does not match. No
    /// other entry lives in the burst's epoch: whoever sees the epoch sees what was noted before it was published.
    fn only_pass<const LONG: bool, K: AsRef<Key>>(
        &self,
        number: usize,
        only: u32,
        burst: &Burst<'_, K>,
        pending: u32,
        hits: &mut [Option<Hit>],
    ) -> u32 {
        let mut missed = pending;
        for at in bits(pending) {
            hits[at] = self.compare::<LONG>(burst.epoch, number, burst.key(at), only);
            missed ^= u32::from(hits[at].is_some()) << at;
        }
        missed
    }

    /// Looks the keys of `pending` up in a subtable, and returns those that it does not have.
    fn subtable_pass<const LONG: bool, K: AsRef<Key>>(
        &self,
        number: usize,
        burst: &Burst<'_, K>,
        pending: u32,
        hits: &mut [Option<Hit>],
    ) -> u32 {
        let (buckets, mask) = (self.parts.buckets, &self.subtables[number].mask);
        let mut places = [Place(0); BURST];
        for at in bits(pending) {
            let words = burst.key(at).words();
            places[at] = Place(self.seed.hash::<LONG>(number as u64, |at| words[at] & mask[at]));
            places[at].home(buckets).0.prefetch();
        }
        let (mut candidates, mut some) = ([0; BURST], 0);
        for at in bits(pending) {
            if let Some(entry) = places[at].candidate(buckets) {
                self.parts.entry(entry).prefetch::<LONG>();
                candidates[at] = entry;
                some |= 1 << at;
            }
        }
        let mut missed = pending;
        for at in bits(some) {
            // A hit is written where it stays: one that is copied right after its words were written is waited for.
            if let Some(hit) = self.compare::<LONG>(burst.epoch, number, burst.key(at), candidates[at]) {
                hits[at] = Some(hit);
                missed ^= 1 << at;
            } else if self.search::<LONG>(burst.epoch, number, burst.key(at), places[at], &mut hits[at]) {
                missed ^= 1 << at;
            }
        }
        missed
    }

    /// Finds the entry of this subtable that matches `key`, of all with the same tag, and returns whether there is one.
    #[cold]
    fn search<const LONG: bool>(
        &self,
        epoch: u64,
        number: usize,
        key: &Key,
        place: Place,
        hit: &mut Option<Hit>,
    ) -> bool {
        *hit = place.each(self.parts.buckets).find_map(|entry| self.compare::<LONG>(epoch, number, key, entry));
        hit.is_some()
    }

    /// Returns the entry, if it is one of this subtable and matches `key`.
    #[inline(always)]
    fn compare<const LONG: bool>(&self, epoch: u64, number: usize, key: &Key, entry: u32) -> Option<Hit> {
        let (words, mask) = (key.words(), &self.subtables[number].mask);
        let is_right = |stamp: Stamp| usize::from(stamp.subtable()) == number;
        let stamp = self.parts.entry(entry).matches::<LONG>(epoch, is_right, |at| words[at] & mask[at])?;
        Some(Hit { entry, stamp })
    }
}

/// What is looked up.
struct Burst<'k, K> {
    epoch: u64,
    /// At most [`BURST`].
    keys: &'k [K],
}

impl<K: AsRef<Key>> Burst<'_, K> {
    #[inline(always)]
    fn key(&self, at: usize) -> &Key {
        self.keys[at].as_ref()
    }
}

impl Front<'_> {
    /// Notes what the keys of `found` matched.
    fn note(&mut self, found: u32, places: &[Place; BURST], hits: &[Option<Hit>]) {
        for at in bits(found) {
            if let Some(Hit { entry, stamp }) = hits[at] {
                self.put(places[at], entry, stamp.generation());
            }
        }
    }
}

/// Returns the numbers of the bits that are set.
#[inline(always)]
fn bits(mut set: u32) -> impl Iterator<Item = usize> {
    iter::from_fn(move || {
        let bit = set.trailing_zeros() as usize % BURST;
        (set != 0).then(|| {
            set &= set - 1;
            bit
        })
    })
}
