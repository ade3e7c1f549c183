//! Whole cache lines of words that one side writes while others read them.

use crate::word::prefetch;
use core::sync::atomic::AtomicU64;

/// A cache line: eight words, each of which its writer may change at any time.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct CacheLine([AtomicU64; Self::WORDS]);

const _: () = assert!(size_of::<CacheLine>() == 64 && align_of::<CacheLine>() == 64);

impl CacheLine {
    /// Number of words of a line.
    pub const WORDS: usize = 8;

    /// Returns all words, which may be of different moments.
    #[inline(always)]
    pub fn words(&self) -> &[AtomicU64; Self::WORDS] {
        &self.0
    }

    /// Begins to fetch the line, to be read. See: SDM volume 2, "PREFETCHh".
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch((&raw const *self).cast());
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use crate::PeerSlice;
    use core::sync::atomic::Ordering;

    #[test]
    fn lines_are_whole_and_aligned() {
        let mut memory: std::vec::Vec<u64> = (0..40).collect();
        let all = PeerSlice::from_mut(&mut memory);
        let start = all.as_ptr().align_offset(64) as u64;
        let lines = |from: u64, len| all.sub(start + from, len).ok().and_then(PeerSlice::lines);
        let two = lines(0, 191).expect("aligned");
        assert_eq!((two.len(), two[1].words()[3].load(Ordering::Relaxed)), (2, start / 8 + 11));
        assert!(lines(8, 128).is_none() && lines(64, 63).is_some_and(<[_]>::is_empty));
        two[0].prefetch();
        two[1].words()[0].store(77, Ordering::Relaxed);
        assert_eq!(all.read::<u64>(start + 64), Ok(77));
    }
}
