//! The times from a timer's expiries to their handler: counts that a handler writes while others read them.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A timer that expires again and again.
#[derive(Clone, Copy, Debug)]
pub struct Ticker {
    /// From one expiry to the next.
    pub period: u64,
    /// Expiries to wait for.
    pub count: u64,
}

/// Buckets in each power of two.
const PARTS: usize = 16;
const PARTS_LOG2: usize = PARTS.ilog2() as usize;
/// For values of 40 bits; larger ones are in the last.
const BUCKETS: usize = (40 - PARTS_LOG2 + 1) * PARTS;

/// Latencies of all expiries so far: their number, least, greatest and sum exactly, and a histogram whose buckets are
/// exact below 16, and each a sixteenth of a power of two above.
#[derive(Debug)]
pub struct Expiries {
    buckets: [AtomicU64; BUCKETS],
    count: AtomicU64,
    least: AtomicU64,
    greatest: AtomicU64,
    sum: AtomicU64,
    missed: AtomicU64,
}

impl Expiries {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            count: AtomicU64::new(0),
            least: AtomicU64::new(u64::MAX),
            greatest: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }
    }

    /// An expiry reached its handler `latency` later. One handler calls this.
    pub fn note(&self, latency: u64) {
        self.buckets[bucket(latency)].fetch_add(1, Relaxed);
        self.least.fetch_min(latency, Relaxed);
        self.greatest.fetch_max(latency, Relaxed);
        self.sum.fetch_add(latency, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    /// The expiry that follows one due at `due`, at `now`. Those that would have been before `now` are missed.
    pub fn next(&self, due: u64, now: u64, period: u64) -> u64 {
        let passed = now.saturating_sub(due) / period;
        self.missed.fetch_add(passed, Relaxed);
        due + (passed + 1) * period
    }

    /// Returns the number of expiries.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Returns the number of expiries that fell into the time that others waited.
    pub fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }

    /// The least.
    pub fn least(&self) -> u64 {
        self.least.load(Relaxed)
    }

    /// The greatest.
    pub fn greatest(&self) -> u64 {
        self.greatest.load(Relaxed)
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.sum.load(Relaxed) as f64 / self.count().max(1) as f64
    }

    /// Buckets that are not empty: their least value, and how many expiries are in them.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.buckets.iter().map(|count| count.load(Relaxed));
        counts.enumerate().filter(|(_, count)| *count > 0).map(|(bucket, count)| (floor(bucket), count))
    }
}

impl Default for Expiries {
    fn default() -> Self {
        Self::new()
    }
}

const fn bucket(value: u64) -> usize {
    if value < PARTS as u64 {
        return value as usize;
    }
    let above = value.ilog2() as usize - PARTS_LOG2;
    let bucket = above * PARTS + (value >> above) as usize;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The least value of a bucket.
const fn floor(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    let above = bucket / PARTS - 1;
    ((bucket % PARTS + PARTS) as u64) << above
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_begins_at_or_below_it() {
        for value in (0..5000).chain([1 << 20, (1 << 39) + 7, (1 << 40) - 1]) {
            let at = bucket(value);
            assert!(floor(at) <= value && value < floor(at + 1), "{value} in {at}");
            assert!(floor(at + 1) - floor(at) <= 1.max(value / PARTS as u64));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn expiries_are_counted_exactly() {
        let expiries = Expiries::new();
        [7, 1000, 1001, 7].into_iter().for_each(|latency| expiries.note(latency));
        assert_eq!((expiries.count(), expiries.least(), expiries.greatest()), (4, 7, 1001));
        assert_eq!(expiries.mean(), 503.75);
        assert!(expiries.buckets().eq([(7, 2), (992, 2)]));
    }

    #[test]
    fn expiries_that_nobody_could_handle_are_missed() {
        let expiries = Expiries::new();
        assert_eq!((expiries.next(100, 109, 10), expiries.missed()), (110, 0));
        assert_eq!((expiries.next(100, 110, 10), expiries.missed()), (120, 1));
        assert_eq!((expiries.next(100, 135, 10), expiries.missed()), (140, 4));
    }
}
