//! The exact-match front: a reader's private memory of which entry a whole key had last.

use super::hash::{Place, Seed};
use crate::key::{Key, Layers};

/// What tells the hash of a whole key from those of the subtables.
const SALT: u64 = u64::MAX;
/// Layers of which a key has fields behind its first words.
const LONG: Layers = Layers::ARP.union(Layers::IPV6).union(Layers::MPLS).union(Layers::NSH);

/// Memory of an exact-match front, for one reader: for each hash of a whole key the index (31:0) and the generation
/// (63:32) of an entry. It holds no key and no action, so it can't go stale: whoever follows it compares the key with
/// the entry as it is then.
#[derive(Debug)]
pub struct Front<'f>(&'f mut [u64]);

impl<'f> Front<'f> {
    /// Returns a front in `words`; `None` unless their number is a power of two.
    pub fn new(words: &'f mut [u64]) -> Option<Self> {
        words.fill(0);
        words.len().is_power_of_two().then_some(Self(words))
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

    /// Returns index and generation of the entry at `place`. A generation of 0 is no entry's.
    #[inline(always)]
    pub(super) fn get(&self, place: Place) -> (u32, u32) {
        let word = self.0[place.0 as usize & (self.0.len() - 1)];
        (word as u32, (word >> 32) as u32)
    }

    /// Notes the entry at `place`, over the one before.
    #[inline(always)]
    pub(super) fn put(&mut self, place: Place, index: u32, generation: u32) {
        let at = place.0 as usize & (self.0.len() - 1);
        self.0[at] = u64::from(index) | u64::from(generation) << 32;
    }
}
