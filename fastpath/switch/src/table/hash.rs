//! The hash of a key: products of pairs of words, each folded to 64 bits, keyed by a seed that only host and readers
//! know. Whoever can't tell two keys of one bucket can't fill it.

use super::{CacheLine, bucket, pick};
use crate::key::{SHORT, WORDS};

/// What keys the hash of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed([u64; WORDS + 1]);

impl Seed {
    /// Returns the seed that the two words, which nobody can guess, are drawn out to.
    /// See: G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", figure 17.
    pub fn new(secret: [u64; 2]) -> Self {
        let mut state = secret[0];
        Self(core::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let word = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ word >> 31 ^ secret[1]
        }))
    }

    /// Returns the hash of the words that `word` returns, the first [`SHORT`] or `LONG` all of them, with `salt`.
    #[inline(always)]
    pub(super) fn hash<const LONG: bool>(&self, salt: u64, word: impl Fn(usize) -> u64) -> u64 {
        let seed = &self.0;
        let pair = |at: usize| folded(word(at) ^ seed[at], word(at + 1) ^ seed[at + 1]);
        // The last short word and the salt meet what the seed made of the others, in the last product.
        let mut all = pair(0) ^ word(SHORT - 1) ^ seed[SHORT - 1];
        let mut others = pair(2) ^ salt ^ seed[WORDS];
        if LONG {
            all ^= pair(SHORT) ^ pair(SHORT + 2);
            others ^= pair(SHORT + 4) ^ pair(SHORT + 6);
        }
        folded(all, others)
    }
}

/// Returns the two halves of the product, one upon the other.
#[inline(always)]
const fn folded(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// Where the flows of one hash are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub u64);

impl Place {
    /// The tag that tells the flows of a bucket apart: never 0, which marks a free place.
    #[inline(always)]
    pub fn tag(self) -> u16 {
        (self.0 >> 48) as u16 | 1
    }

    /// The home of the flows.
    #[inline(always)]
    pub fn home<'m>(self, buckets: &'m [CacheLine]) -> bucket::Bucket<'m> {
        bucket::Bucket(pick(buckets, self.0))
    }

    /// The bucket of flows that had no room at home.
    #[inline(always)]
    pub fn other<'m>(self, buckets: &'m [CacheLine]) -> bucket::Bucket<'m> {
        bucket::Bucket(pick(buckets, self.0 >> 24))
    }

    /// Returns the first entry with the tag; it is the right one unless tags collide.
    #[inline(always)]
    pub fn candidate(self, buckets: &[CacheLine]) -> Option<u32> {
        let home = self.home(buckets);
        home.first(self.tag()).or_else(|| if home.has_away() { self.other(buckets).first(self.tag()) } else { None })
    }

    /// Returns all entries with the tag.
    pub fn each(self, buckets: &[CacheLine]) -> impl Iterator<Item = u32> {
        let both = [self.home(buckets), self.other(buckets)].into_iter();
        both.flat_map(move |bucket| bucket.places(self.tag()).map(move |place| bucket.index(place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Keys that differ in one bit have other hashes, also in the bits that choose bucket and tag.
    #[test]
    fn each_bit_of_the_key_changes_the_hash() {
        let seed = Seed::new([1, 2]);
        let hash = |words: [u64; WORDS]| seed.hash::<true>(0, |at| words[at]);
        let mut hashes = HashSet::from([hash([0; WORDS])]);
        for bit in 0..64 * WORDS {
            let mut words = [0; WORDS];
            words[bit / 64] = 1 << (bit % 64);
            assert!(hashes.insert(hash(words)), "bit {bit}");
        }
        let parts = |part: fn(&u64) -> u64| hashes.iter().map(part).collect::<HashSet<_>>().len();
        assert!(parts(|hash| hash & 0xffff) > 820 && parts(|hash| hash >> 48) > 820);
        assert_ne!(seed.hash::<true>(1, |_| 0), hash([0; WORDS]));
        assert_ne!(Seed::new([1, 3]).hash::<false>(0, |_| 5), seed.hash::<false>(0, |_| 5));
    }
}
