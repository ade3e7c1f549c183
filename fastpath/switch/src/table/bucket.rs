//! A bucket: one cache line with eight places.
//!
//! ```text
//! word 0, 1   tags, 16 bits each; 0 is a free place. Bit 1 of a tag says in which word it is looked for first
//! word 2-5    indexes of entries, 32 bits each
//! word 6      number of flows whose home this is and that are in another bucket
//! ```

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use sluice_memory::CacheLine;

/// Number of places.
pub const PLACES: usize = 8;
/// Places whose tags are in one word.
const HALF: usize = PLACES / 2;
const INDEXES: usize = 2;
const AWAY: usize = 6;
const LANES: u64 = 0x0001_0001_0001_0001;

#[derive(Clone, Copy, Debug)]
pub struct Bucket<'m>(pub &'m CacheLine);

impl Bucket<'_> {
    /// Returns the entry at the first place with `tag`, in the order of [`places_of`].
    #[inline(always)]
    pub fn first(self, tag: u16) -> Option<u32> {
        let half = half_of(tag);
        self.first_of_half(half, tag).or_else(|| self.first_of_half(half ^ 1, tag))
    }

    #[inline(always)]
    fn first_of_half(self, half: usize, tag: u16) -> Option<u32> {
        let equal = equal_lanes(self.0.words()[half].load(Acquire) ^ (LANES * u64::from(tag)));
        (equal != 0).then(|| self.index(half * HALF + equal.trailing_zeros() as usize / 16))
    }

    /// Returns the places with `tag`.
    pub fn places(self, tag: u16) -> impl Iterator<Item = usize> {
        places_of(tag).filter(move |&place| self.tag(place) == tag)
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
        let free = places_of(tag).find(|&place| self.tag(place) == 0);
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

/// Returns the half that `tag` is put into as long as it has a free place. A reader finds nearly all tags in the word
/// where it looks first: which of both has a tag could not be predicted.
#[inline(always)]
const fn half_of(tag: u16) -> usize {
    (tag >> 1 & 1) as usize
}

/// Returns all places, in the order in which they are looked at for `tag`.
fn places_of(tag: u16) -> impl Iterator<Item = usize> {
    (0..PLACES).map(move |at| at ^ (half_of(tag) * HALF))
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
        for before in 0..PLACES {
            for tag in [1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let line = CacheLine::default();
                let bucket = Bucket(&line);
                (0..before).for_each(|other| assert!(bucket.put(tag ^ 0x0100, other as u32)));
                assert_eq!(bucket.first(tag), None);
                assert!(bucket.put(tag, 77));
                let place = before ^ (usize::from(tag & 2 != 0) * 4);
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
