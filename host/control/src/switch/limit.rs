//! How many frames a VM may transmit: token buckets. See: RFC 2697 (meters by bytes and time).

/// Nanoseconds of a second.
const SECOND: u128 = 1_000_000_000;
/// Part of a second whose frames may come at once.
const BURST: u64 = 10;
/// Bits of the longest frame, which every bucket of bits holds.
const LONGEST: u64 = sluice_abi::net::MAX_FRAME as u64 * 8;

/// How many frames a VM may transmit by the switch. Frames of a tenth of a second may come at once, and at least one.
/// Time is in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Frames per second.
    pub packets_per_second: Option<u64>,
    /// Bits per second, of frames without their preamble and check sequence.
    pub bits_per_second: Option<u64>,
}

/// The buckets of one VM.
pub(super) struct Limiter {
    limit: Limit,
    packets: Option<Bucket>,
    bits: Option<Bucket>,
}

impl Limiter {
    pub fn new(limit: Limit) -> Self {
        let packets = limit.packets_per_second.map(|rate| Bucket::new(rate, 1));
        Self { limit, packets, bits: limit.bits_per_second.map(|rate| Bucket::new(rate, LONGEST)) }
    }

    pub const fn limit(&self) -> Limit {
        self.limit
    }

    /// Returns whether a frame of `len` bytes may pass at time `now`. One that may not costs nothing.
    pub fn admits(&mut self, len: u64, now: u64) -> bool {
        let Self { packets, bits, .. } = self;
        let mut buckets = [(packets, 1), (bits, len * 8)];
        let fill = |(bucket, amount): &mut (&mut Option<Bucket>, u64)| {
            bucket.as_mut().is_none_or(|bucket| bucket.fill(now) >= u128::from(*amount) * SECOND)
        };
        let passes = buckets.iter_mut().map(fill).fold(true, |all, one| all & one);
        for (bucket, amount) in buckets.into_iter().filter(|_| passes) {
            bucket.iter_mut().for_each(|bucket| bucket.level -= u128::from(amount) * SECOND);
        }
        passes
    }
}

/// A bucket, which is full at first.
struct Bucket {
    /// Tokens per second, and most tokens at once.
    rate: u64,
    most: u64,
    /// Tokens in the bucket, times [`SECOND`].
    level: u128,
    /// Time of the last look, in nanoseconds.
    at: u64,
}

impl Bucket {
    fn new(rate: u64, least: u64) -> Self {
        let most = (rate / BURST).max(least);
        Self { rate, most, level: u128::from(most) * SECOND, at: 0 }
    }

    /// Adds what came since the last look, and returns the level.
    fn fill(&mut self, now: u64) -> u128 {
        let new = u128::from(now.saturating_sub(self.at)) * u128::from(self.rate);
        (self.level, self.at) = ((self.level + new).min(u128::from(self.most) * SECOND), self.at.max(now));
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut limiter = Limiter::new(Limit { packets_per_second: Some(100), bits_per_second: None });
        assert_eq!((0..50).filter(|_| limiter.admits(60, 0)).count(), 10);
        let per_ms = (1..=1_000).filter(|ms| limiter.admits(60, ms * 1_000_000)).count();
        assert_eq!(per_ms, 100);
    }

    #[test]
    fn a_frame_that_one_bucket_refuses_takes_nothing_from_the_other() {
        let limit = Limit { packets_per_second: Some(20), bits_per_second: Some(8_000) };
        let mut limiter = Limiter::new(limit);
        assert!(limiter.admits(65_535, 0), "the longest frame passes at least once");
        assert!(!limiter.admits(60, 0), "no bits are left");
        assert!(limiter.admits(0, 0), "a second frame is");
        assert!(!limiter.admits(0, 0), "a third is none");
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let mut limiter = Limiter::new(Limit { packets_per_second: Some(1), bits_per_second: None });
        assert!(limiter.admits(60, u64::MAX));
        assert!(!limiter.admits(60, 0) && !limiter.admits(60, u64::MAX));
    }
}
