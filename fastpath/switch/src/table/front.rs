//! The exact-match front: a reader's private memory of which entry a whole key had last.

use super::hash::{Place, Seed};
use crate::key::{Key, Layers};

/// What tells the hash of a whole key from those of the subtables.
const SALT: u64 = u64::MAX;
/// Layers of which a key has fields behind its first words.
const LONG: Layers = Layers::ARP.union(Layers::IPV6).union(Layers::MPLS).union(Layers::NSH);

/// Places of a set: those that a key's entry may be in.
const WAYS: usize = 4;

/// Memory of an exact-match front, for one reader: sets of four places, each with the index of an entry (23:0), a part
/// of a key's hash (31:24) and the entry's generation (63:32). There is no key and no action, so it can't go stale:
/// whoever follows it compares the key with the entry as it is then.
#[derive(Debug)]
pub struct Front<'f>(&'f mut [[u64; WAYS]]);

impl<'f> Front<'f> {
    /// Returns a front in `words`; `None` unless their number is a power of two, at least 4. Twice as many words as
    /// there are flows at a time keep nearly all of these.
    pub fn new(words: &'f mut [u64]) -> Option<Self> {
        words.fill(0);
        let (sets, rest) = words.as_chunks_mut();
        (sets.len().is_power_of_two() && rest.is_empty()).then_some(Self(sets))
    }

    /// Returns where the entry of `key` is.
    #[inline(always)]
    pub(super) fn place(seed: &Seed, key: &Key) -> Place {
        let words = key.words();
        Place(if key.layers.intersects(LONG) {
            seed.hash::<true>(SALT, |at| words[at])
        } else {
            seed.hash::<false>(SALT, |at| words[at])
        })
    }

    /// Returns index and generation of the entry at `place`; 0 and 0, a generation that no entry in use has, if there
    /// is none.
    #[inline(always)]
    pub(super) fn get(&self, place: Place) -> (u32, u32) {
        let set = &self.0[self.set(place)];
        let word = set.iter().find(|word| **word as u32 >> 24 == tag(place)).map_or(0, |word| *word);
        (word as u32 & 0xff_ffff, (word >> 32) as u32)
    }

    /// Notes the entry at `place`, over the one that was known for the key, or over another one.
    pub(super) fn put(&mut self, place: Place, index: u32, generation: u32) {
        let set = self.set(place);
        let words = &mut self.0[set];
        let known = words.iter().position(|word| *word as u32 >> 24 == tag(place));
        let free = || words.iter().position(|word| *word == 0);
        let way = known.or_else(free).unwrap_or((place.0 >> 48) as usize % WAYS);
        words[way] = u64::from(index & 0xff_ffff | tag(place) << 24) | u64::from(generation) << 32;
    }

    #[inline(always)]
    fn set(&self, place: Place) -> usize {
        place.0 as usize & (self.0.len() - 1)
    }
}

/// The part of the hash that is kept.
#[inline(always)]
const fn tag(place: Place) -> u32 {
    (place.0 >> 56) as u32
}
