//! A bounded table whose entries expire.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use sluice_vnf::clock::{self, Counter};

/// Ticks of a second where a clock does not say how many it has, and instructions of an emulator that count as one.
const TICKS: u64 = 1 << 30;

/// Returns the ticks of [`clock::now`] in a number of seconds.
pub fn seconds(count: u64) -> u64 {
    // A VM finds out by CPUID, which is an exit.
    static ONE: AtomicU64 = AtomicU64::new(0);
    if ONE.load(Relaxed) == 0 {
        let ticks = match clock::counter() {
            Counter::Cycles(Some(hertz)) => hertz,
            Counter::Cycles(None) | Counter::Instructions => TICKS,
        };
        ONE.store(ticks, Relaxed);
    }
    ONE.load(Relaxed).saturating_mul(count)
}

/// A table of at most a number of entries, each with a time up to which it lives. Times are ticks.
#[derive(Debug)]
pub struct Table<K, V> {
    most: usize,
    entries: BTreeMap<K, (V, u64)>,
    /// The time before which a full table is not searched again for entries that expired: others may fill it at will.
    search_at: u64,
    refused: u64,
}

impl<K: Ord, V> Table<K, V> {
    /// Ticks from one search of a full table to the next.
    const PAUSE: u64 = 1 << 24;

    /// Returns an empty table for `most` entries.
    pub const fn new(most: usize) -> Self {
        Self { most, entries: BTreeMap::new(), search_at: 0, refused: 0 }
    }

    /// Returns the entry of `key`, unless it expired.
    pub fn get(&self, key: &K, now: u64) -> Option<&V> {
        self.entries.get(key).filter(|(_, end)| *end > now).map(|(value, _)| value)
    }

    /// Lets the entry of `key` live for `time` from `now` on, and returns it, unless it expired.
    pub fn keep(&mut self, key: &K, time: u64, now: u64) -> Option<&mut V> {
        let (value, end) = self.entries.get_mut(key).filter(|(_, end)| *end > now)?;
        *end = now.saturating_add(time);
        Some(value)
    }

    /// Adds an entry, in place of an older one with this key, that lives for `time` from `now` on. Returns `false`, and
    /// counts that, if the table is full of entries that did not expire.
    pub fn insert(&mut self, key: K, value: V, time: u64, now: u64) -> bool {
        if self.entries.len() >= self.most && now >= self.search_at {
            self.search_at = now.saturating_add(Self::PAUSE);
            self.entries.retain(|_, (_, end)| *end > now);
        }
        let fits = self.entries.len() < self.most || self.entries.contains_key(&key);
        if fits {
            self.entries.insert(key, (value, now.saturating_add(time)));
        } else {
            self.refused += 1;
        }
        fits
    }

    /// Removes the entry of `key`.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(value, _)| value)
    }

    /// Returns the number of entries, those included that expired and were not removed yet.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of entries that found a full table.
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_as_long_as_it_is_kept() {
        let mut table = Table::new(2);
        assert!(table.insert(1, 'a', 10, 0) && table.insert(2, 'b', 20, 0) && !table.insert(3, 'c', 10, 5));
        assert_eq!((table.get(&1, 9), table.get(&1, 10), table.len(), table.refused()), (Some(&'a'), None, 2, 1));
        assert_eq!(
            (table.keep(&2, 10, 19).copied(), table.get(&2, 28), table.get(&2, 29)),
            (Some('b'), Some(&'b'), None)
        );
        assert_eq!(table.keep(&1, 10, 10), None);
        assert_eq!((table.remove(&2), table.is_empty()), (Some('b'), false));
    }

    /// Whoever fills the table costs one search in a while, and no more.
    #[test]
    fn a_full_table_is_searched_now_and_then() {
        let mut table = Table::new(2);
        let pause = Table::<u8, ()>::PAUSE;
        assert!(table.insert(1, (), 10, 0) && table.insert(2, (), 100, 0) && !table.insert(3, (), 1, 5));
        assert!(!table.insert(3, (), 1, 11), "expired, and not searched for yet");
        assert!(table.insert(3, (), 1, 5 + pause) && table.insert(4, (), 1, 5 + pause));
        assert!(table.insert(4, (), 9, 6 + pause), "its own entry has a place in a full table");
    }
}
