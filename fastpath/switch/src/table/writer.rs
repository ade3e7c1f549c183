//! The writer, on the host's side.

use super::bucket::{Bucket, PLACES};
use super::hash::{Place, Seed};
use super::{COUNT, LEASE, ORDER, Parts, SUBTABLES, Shape, ShapeError};
use crate::action::ActionList;
use crate::epoch;
use crate::key::Key;
use crate::mask::Mask;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::mem::replace;
use core::ptr;
use core::sync::atomic::Ordering::Release;
use sluice_memory::CacheLine;

/// Reasons for which a flow can't be added. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// No entry is free, or none has room in its two buckets. Entries become free by [`Writer::reclaim`].
    #[error("the table is full: {0} entries are in use")]
    Full(u32),
    /// Each subtable is in use, by a flow or by one that is not reclaimed yet.
    #[error("the table has {SUBTABLES} masks, and no room for another one")]
    Masks,
    /// Each list of actions is in use.
    #[error("the table has {0} lists of actions, and no room for another one")]
    Lists(u32),
    /// There is a flow with this key and mask, and it does not die.
    #[error("there is such a flow, entry {}", .0.index)]
    Duplicate(EntryId),
}

/// The name of a flow's entry for its writer. It is never that of another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryId {
    index: u32,
    generation: u32,
    serial: u64,
}

impl EntryId {
    /// Returns the number of the entry, as [`super::Hit::entry`] has it.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Returns the generation that the entry has for this flow, as [`super::Hit::generation`] does.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Returns a number that is larger than those of all flows that were added before, and not 0.
    pub(crate) const fn serial(self) -> u64 {
        self.serial
    }
}

/// What the writer knows of an entry in use.
#[derive(Clone, Copy, Debug)]
struct Slot {
    id: EntryId,
    place: Place,
    subtable: u8,
    list: u32,
    dying: bool,
}

/// What the writer knows of a subtable in use.
#[derive(Clone, Copy, Debug)]
struct Subtable {
    mask: Mask,
    /// Number of its entries, and the sum of their indexes.
    entries: u32,
    sum: u64,
}

impl Subtable {
    /// Returns the index of its only entry, if there is one alone.
    fn only(&self) -> Option<u32> {
        (self.entries == 1).then_some(self.sum as u32)
    }
}

/// The one writer of a table. What it knows of the table is its own: whoever else writes the memory harms only those
/// who read it.
///
/// A change is of the epoch that [`Writer::publish`] opens: a burst sees all changes of an epoch or none. An entry that
/// was removed is used again when [`Writer::reclaim`] is told that no burst of an older epoch goes on.
#[derive(Debug)]
pub struct Writer<'m> {
    parts: Parts<'m>,
    seed: Seed,
    epoch: u64,
    serial: u64,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Entries that die, with the epoch in which they do: the oldest first.
    dying: VecDeque<(u64, u32)>,
    subtables: [Option<Subtable>; SUBTABLES],
    /// Numbers of the subtables in use, in the order of look-up.
    order: Vec<u8>,
    /// Each list by its number, and the number of entries that have it.
    lists: Vec<(ActionList, u32)>,
    /// The number of each list in use.
    numbers: BTreeMap<ActionList, u32>,
    free_lists: Vec<u32>,
}

impl<'m> Writer<'m> {
    /// Returns the writer of a new table in `memory`, which is all 0.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn new(memory: &'m [CacheLine], shape: Shape, seed: Seed) -> Result<Self, ShapeError> {
        let parts = Parts::of(memory, shape)?;
        Ok(Self {
            parts,
            seed,
            epoch: 0,
            serial: 0,
            slots: (0..shape.entries).map(|_| None).collect(),
            free: (0..shape.entries).rev().collect(),
            dying: VecDeque::new(),
            subtables: [None; SUBTABLES],
            order: Vec::new(),
            lists: (0..shape.lists).map(|_| (ActionList::DROP, 0)).collect(),
            numbers: BTreeMap::new(),
            free_lists: (0..shape.lists).rev().collect(),
        })
    }

    /// Returns the epoch that was published last.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Adds the flow of all frames that agree with `key` in the bits of `mask`, from the next epoch on.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn insert(&mut self, key: &Key, mask: &Mask, actions: &ActionList) -> Result<EntryId, TableError> {
        let key = key.masked(mask.key());
        let number = self.subtable_for(mask)?;
        let place = self.place(number, mask, &key);
        if let Some(id) = self.find_at(place, number, &key) {
            return Err(TableError::Duplicate(id));
        }
        let full = TableError::Full((self.slots.len() - self.free.len()) as u32);
        let &index = self.free.last().ok_or(full)?;
        let list = self.list_for(actions)?;
        let generation = self.parts.entry(index).write(number, list, self.epoch + 1, &key);
        if !self.put(place, index) {
            self.parts.entry(index).revoke();
            return Err(full);
        }
        self.free.pop();
        self.serial += 1;
        let id = EntryId { index, generation, serial: self.serial };
        self.slots[index as usize] = Some(Slot { id, place, subtable: number, list, dying: false });
        self.hold(number, mask, index);
        self.hold_list(actions, list);
        Ok(id)
    }

    /// Removes a flow from the next epoch on. Returns whether there was one that did not die yet.
    pub fn remove(&mut self, id: EntryId) -> bool {
        let dies = self.epoch + 1;
        let lived = self.slot(id).is_some_and(|slot| !replace(&mut slot.dying, true));
        if lived {
            self.parts.entry(id.index).die(dies);
            self.dying.push_back((dies, id.index));
        }
        lived
    }

    /// Takes a flow away at once, also one that was removed: who reads its entry from now on, or is reading it, misses.
    /// Returns whether there was one.
    pub fn revoke(&mut self, id: EntryId) -> bool {
        let there = self.remove(id) || self.slot(id).is_some();
        if there {
            self.parts.entry(id.index).revoke();
        }
        there
    }

    /// Opens the next epoch, and returns it. All changes since the last one are seen by bursts of the new one.
    pub fn publish(&mut self) -> u64 {
        self.epoch += 1;
        epoch::publish(&self.parts.header, self.epoch);
        self.epoch
    }

    /// Lets bursts that begin before the time `until` use entries, and no others. A new table has no lease. The host
    /// renews it for as long as it looks after the table, and its silence ends all hits.
    ///
    /// Time is in ticks of a clock that the host and all readers share, such as a time-stamp counter without an offset.
    pub fn lease(&mut self, until: u64) {
        self.parts.header.words()[LEASE].store(until, Release);
    }

    /// Returns the flows that [`Writer::reclaim`] would free: no reader counts anything for them any more.
    pub fn dead(&self, reported: u64) -> impl Iterator<Item = EntryId> {
        let reported = reported.min(self.epoch);
        let dead = self.dying.iter().take_while(move |(dies, _)| *dies <= reported);
        dead.filter_map(|&(_, index)| Some(self.slot_at(index)?.id))
    }

    /// Frees what was removed, where no burst of an epoch before `reported` goes on any more, in any reader: see
    /// [`Quiescence::poll`](crate::Quiescence::poll).
    pub fn reclaim(&mut self, reported: u64) {
        let reported = reported.min(self.epoch);
        while let Some(&(_, index)) = self.dying.front().filter(|(dies, _)| *dies <= reported) {
            self.dying.pop_front();
            self.give_back(index);
        }
    }

    /// Orders the subtables by `hits`, the number of hits of each subtable's entries: those with most come first.
    pub fn order(&mut self, hits: impl Fn(&Mask) -> u64) {
        let of = |number: &u8| self.subtables[usize::from(*number)].map_or(0, |it| hits(&it.mask));
        let mut order = self.order.clone();
        order.sort_by_key(|number| Reverse(of(number)));
        self.order = order;
        self.write_order();
    }

    /// Returns the flow with exactly this key and mask.
    pub fn find(&self, key: &Key, mask: &Mask) -> Option<EntryId> {
        let number = self.number_of(mask)?;
        let key = key.masked(mask.key());
        self.find_at(self.place(number, mask, &key), number, &key)
    }

    fn number_of(&self, mask: &Mask) -> Option<u8> {
        (0..).zip(&self.subtables).find(|(_, it)| it.is_some_and(|it| it.mask == *mask)).map(|(number, _)| number)
    }

    /// Returns the subtable of `mask`, or one that is free.
    fn subtable_for(&self, mask: &Mask) -> Result<u8, TableError> {
        let free = || (0..).zip(&self.subtables).find(|(_, it)| it.is_none()).map(|(number, _)| number);
        self.number_of(mask).or_else(free).ok_or(TableError::Masks)
    }

    /// Returns the list with these actions, or one that is free, in which they are written.
    fn list_for(&self, actions: &ActionList) -> Result<u32, TableError> {
        if let Some(&number) = self.numbers.get(actions) {
            return Ok(number);
        }
        let &number = self.free_lists.last().ok_or(TableError::Lists(self.lists.len() as u32))?;
        self.parts.list(number).write_list(actions);
        Ok(number)
    }

    fn place(&self, number: u8, mask: &Mask, key: &Key) -> Place {
        let (salt, word) = (number.into(), |at: usize| key.words()[at]);
        let long = mask.key().is_long();
        Place(if long { self.seed.hash::<true>(salt, word) } else { self.seed.hash::<false>(salt, word) })
    }

    /// Returns the flow of a subtable with `key`, unless it dies.
    fn find_at(&self, place: Place, number: u8, key: &Key) -> Option<EntryId> {
        place.each(self.parts.buckets).find_map(|index| {
            let slot = self.slot_at(index).filter(|slot| slot.subtable == number && !slot.dying)?;
            let (_, found) = self.parts.entry(index).whole()?;
            (found == *key).then_some(slot.id)
        })
    }

    /// Returns what is known of an entry, whose number may come from a table that somebody else wrote.
    fn slot_at(&self, index: u32) -> Option<Slot> {
        *self.slots.get(index as usize)?
    }

    fn slot(&mut self, id: EntryId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index as usize)?.as_mut().filter(|slot| slot.id == id)
    }

    /// Counts an entry of subtable `number`, and writes the subtable if the entry is its first.
    fn hold(&mut self, number: u8, mask: &Mask, index: u32) {
        let subtable = &mut self.subtables[usize::from(number)];
        if subtable.is_none() {
            self.parts.subtable(number.into()).write(number, 0, 0, mask.key());
            self.order.push(number);
        }
        let subtable = subtable.get_or_insert(Subtable { mask: *mask, entries: 0, sum: 0 });
        (subtable.entries, subtable.sum) = (subtable.entries + 1, subtable.sum + u64::from(index));
        self.parts.note_only(number.into(), subtable.only());
        self.write_order();
    }

    /// Counts an entry that has `list`.
    fn hold_list(&mut self, actions: &ActionList, list: u32) {
        let (known, entries) = &mut self.lists[list as usize];
        (*known, *entries) = (*actions, *entries + 1);
        self.numbers.insert(*actions, list);
        self.free_lists.pop_if(|free| *free == list);
    }

    fn write_order(&self) {
        let order = (0..).zip(&self.order).fold(0, |all, (place, &number)| all | u64::from(number) << (4 * place));
        let header = self.parts.header.words();
        header[ORDER].store(order, Release);
        header[COUNT].store(self.order.len() as u64, Release);
    }

    /// Frees an entry that died, and its subtable and its list if no other entry has them.
    fn give_back(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].take() else { return };
        self.take_out(slot.place, index);
        self.free.push(index);
        let subtable = &mut self.subtables[usize::from(slot.subtable)];
        if let Some(last) = subtable.as_mut() {
            (last.entries, last.sum) = (last.entries - 1, last.sum - u64::from(index));
        }
        self.parts.note_only(slot.subtable.into(), subtable.as_ref().and_then(Subtable::only));
        if subtable.take_if(|it| it.entries == 0).is_some() {
            self.parts.subtable(slot.subtable.into()).revoke();
            self.order.retain(|number| *number != slot.subtable);
            self.write_order();
        }
        let (list, entries) = &mut self.lists[slot.list as usize];
        *entries -= 1;
        if *entries == 0 {
            self.numbers.remove(list);
            self.free_lists.push(slot.list);
        }
    }

    /// Puts an entry into one of its two buckets, if need be after another one went from there to its own other one: a
    /// reader that looks for that one just then may miss it. Returns whether there was room.
    fn put(&self, place: Place, index: u32) -> bool {
        self.try_put(place, index) || (self.makes_room(place) && self.try_put(place, index))
    }

    fn try_put(&self, place: Place, index: u32) -> bool {
        let [home, other] = self.buckets(place);
        if home.put(place.tag(), index) {
            return true;
        }
        home.count_away(1);
        let done = other.put(place.tag(), index);
        if !done {
            home.count_away(-1);
        }
        done
    }

    fn take_out(&self, place: Place, index: u32) {
        let [home, other] = self.buckets(place);
        if !home.remove(place.tag(), index) && other.remove(place.tag(), index) {
            home.count_away(-1);
        }
    }

    fn buckets(&self, place: Place) -> [Bucket<'m>; 2] {
        [place.home(self.parts.buckets), place.other(self.parts.buckets)]
    }

    /// Moves one entry out of the buckets of `place` to its other bucket, and returns whether one could be moved.
    fn makes_room(&self, place: Place) -> bool {
        let entries = self.buckets(place).map(|bucket| (0..PLACES).map(move |at| (bucket, bucket.index(at))));
        entries.into_iter().flatten().any(|(bucket, index)| {
            let Some(slot) = self.slot_at(index) else { return false };
            let [home, other] = self.buckets(slot.place);
            let goes_home = !ptr::eq(home.0, bucket.0);
            let target = if goes_home { home } else { other };
            // The home counts the entry before it goes, until it is back.
            home.count_away(i64::from(!goes_home));
            let moved = !ptr::eq(target.0, bucket.0) && target.put(slot.place.tag(), index);
            if moved {
                bucket.remove(slot.place.tag(), index);
            }
            home.count_away(if goes_home == moved { -1 } else { 0 });
            moved
        })
    }
}
