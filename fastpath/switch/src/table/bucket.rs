//! A bucket: one cache line with eight places.
//!
//! ```text
//! word 0, 1   tags, 16 bits each; 0 is a free place
//! word 2-5    indexes of entries, 32 bits each
//! word 6      number of flows whose home this is and that are in another bucket
//! ```

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use sluice_memory::CacheLine;

/// Number of places.
pub const PLACES: usize = 8;
const INDEXES: usize = 2;
const AWAY: usize = 6;
const LANES: u64 = 0x0001_0001_0001_0001;

#[derive(Clone, Copy, Debug)]
pub struct Bucket<'m>(pub &'m CacheLine);

impl Bucket<'_> {
    /// Returns the entry at the first place with `tag`.
    #[inline(always)]
    pub fn first(self, tag: u16) -> Option<u32> {
        let pattern = LANES * u64::from(tag);
        let low = equal_lanes(self.0.words()[0].load(Acquire) ^ pattern);
        if low != 0 {
            return Some(self.index(low.trailing_zeros() as usize / 16));
        }
        let high = equal_lanes(self.0.words()[1].load(Acquire) ^ pattern);
        (high != 0).then(|| self.index(4 + high.trailing_zeros() as usize / 16))
    }

    /// Returns the places with `tag`.
    pub fn places(self, tag: u16) -> impl Iterator<Item = usize> {
        (0..PLACES).filter(move |&place| self.tag(place) == tag)
    }

    pub fn tag(self, place: usize) -> u16 {
        (self.0.words()[place / 4 % 2].load(Acquire) >> (place % 4 * 16)) as u16
    }

    /// Returns the entry at `place`.
    #[inline(always)]
    pub fn index(self, place: usize) -> u32 {
        (self.0.words()[INDEXES + place / 2 % 4].load(Relaxed) >> (place % 2 * 32)) as u32
    }

    /// Returns whether flows whose home this is are in another bucket.
    #[inline(always)]
    pub fn has_away(self) -> bool {
        self.0.words()[AWAY].load(Acquire) != 0
    }

    /// Notes that one more flow, or one less, is in another bucket.
    pub fn count_away(self, change: i64) {
        let away = &self.0.words()[AWAY];
        away.store(away.load(Relaxed).wrapping_add_signed(change), Release);
    }

    /// Puts an entry into a free place, and returns whether there was one.
    pub fn put(self, tag: u16, index: u32) -> bool {
        let free = self.places(0).next();
        if let Some(place) = free {
            set_part(self, INDEXES + place / 2, place % 2 * 32, u32::MAX.into(), index.into());
            set_part(self, place / 4, place % 4 * 16, u16::MAX.into(), tag.into());
        }
        free.is_some()
    }

    /// Frees the place of an entry, and returns whether it had one here.
    pub fn remove(self, tag: u16, index: u32) -> bool {
        let place = self.places(tag).find(|&place| self.index(place) == index);
        if let Some(place) = place {
            set_part(self, place / 4, place % 4 * 16, u16::MAX.into(), 0);
        }
        place.is_some()
    }
}

/// Writes `part` over the bits `mask` of a word from bit `shift` on, for whoever sees it after all that was written
/// before. Only the writer calls this, and there is one.
fn set_part(bucket: Bucket<'_>, word: usize, shift: usize, mask: u64, part: u64) {
    let word = &bucket.0.words()[word];
    word.store(word.load(Relaxed) & !(mask << shift) | part << shift, Release);
}

/// Returns the highest bit of each lane of 16 bits that is 0.
#[inline(always)]
const fn equal_lanes(lanes: u64) -> u64 {
    const REST: u64 = LANES * 0x7fff;
    !(((lanes & REST) + REST) | lanes | REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_with_a_tag_is_found_in_any_lane() {
        for place in 0..PLACES {
            for tag in [1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let line = CacheLine::default();
                let bucket = Bucket(&line);
                (0..place).for_each(|other| assert!(bucket.put(tag ^ 0x0100, other as u32)));
                assert_eq!(bucket.first(tag), None);
                assert!(bucket.put(tag, 77));
                assert_eq!((bucket.first(tag), bucket.places(tag).next()), (Some(77), Some(place)));
                assert!(bucket.remove(tag, 77) && !bucket.remove(tag, 77));
                assert_eq!(bucket.first(tag), None);
            }
        }
    }

    #[test]
    fn a_bucket_has_eight_places() {
        let line = CacheLine::default();
        let bucket = Bucket(&line);
        assert!((0..8).all(|index| bucket.put(5, index)) && !bucket.put(5, 8));
        assert_eq!(bucket.places(5).map(|place| bucket.index(place)).sum::<u32>(), 28);
    }
}
