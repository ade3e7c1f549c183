//! Numbers that somebody else named, held within their bounds even while the processor speculates that a check passes.
//!
//! A check alone is a branch, and branches are predicted: a wrong prediction reads what lies beyond the bound, and a
//! later access tells which value was there. So the number that goes on is not the one that was checked but the result
//! of an instruction that is not predicted: an AND, or a conditional move. Both are kept from the compiler (`word.rs`),
//! which would leave out what an earlier check makes superfluous.
//!
//! # Why not LFENCE behind each check
//! It waits for all that came before, in every call; what is here is one to three instructions.

use crate::word::{opaque, zero_if_above};

/// Returns `value` if it is not above `most`. While the processor speculates that it is not, a value above becomes 0.
#[inline(always)]
pub fn within(value: u64, most: u64) -> Option<u64> {
    (value <= most).then(|| zero_if_above(value, most))
}

/// Returns the element at `index`, a number that somebody else named. While the processor speculates that there is one,
/// the index is taken modulo the length.
#[inline(always)]
pub fn pick<T, const N: usize>(list: &[T; N], index: usize) -> Option<&T> {
    const { assert!(N.is_power_of_two() && N <= 1 << 31, "the mask of a list's places is its length less 1") };
    (index < N).then(|| &list[masked::<N>(index)])
}

/// Returns the element as [`pick`] does, to be changed.
#[inline(always)]
pub fn pick_mut<T, const N: usize>(list: &mut [T; N], index: usize) -> Option<&mut T> {
    const { assert!(N.is_power_of_two() && N <= 1 << 31, "the mask of a list's places is its length less 1") };
    (index < N).then(|| &mut list[masked::<N>(index)])
}

/// Returns `value` modulo `N`, a power of two, by an AND that stays even where a check has shown that `value` is below
/// it.
#[inline(always)]
pub(crate) fn masked<const N: usize>(value: usize) -> usize {
    opaque(value) & (N - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_its_bound_stays_and_all_else_is_refused() {
        for (value, most, kept) in [(0, 0, true), (1, 0, false), (7, 7, true), (8, 7, false), (u64::MAX, 7, false)] {
            assert_eq!(within(value, most), kept.then_some(value));
        }
        assert_eq!(within(u64::MAX, u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn what_a_mask_leaves_is_below_it() {
        assert_eq!((masked::<8>(5), masked::<8>(53), masked::<1>(usize::MAX), masked::<8>(usize::MAX)), (5, 5, 0, 7));
    }

    #[test]
    fn a_number_is_negative_within_or_above() {
        use crate::word::against;
        use core::cmp::Ordering::{Equal, Greater, Less};
        let all = [(-1, Less), (i64::MIN, Less), (0, Equal), (63, Equal), (64, Greater), (i64::MAX, Greater)];
        for (value, order) in all {
            assert_eq!(against::<63>(value as u64), order, "{value}");
        }
    }

    #[test]
    fn only_what_is_above_becomes_zero() {
        assert_eq!((zero_if_above(5, 5), zero_if_above(6, 5), zero_if_above(u64::MAX, 0)), (5, 0, 0));
    }

    #[test]
    fn a_list_has_the_places_that_it_has() {
        let mut list = [10, 11, 12, 13];
        for index in [0, 3, 4, 5, 53, usize::MAX] {
            let there = (index < 4).then(|| 10 + index);
            assert_eq!(pick(&list, index).copied(), there);
            assert_eq!(pick_mut(&mut list, index).copied(), there);
        }
    }
}
