//! Delays that grow by one instruction. Those after which something happened should be a row without a gap, with other
//! delays on both sides.

use core::fmt;
use core::ops::Range;

/// The delays after which it happened.
pub struct Row {
    tried: Range<u64>,
    first: u64,
    last: u64,
    /// The number of these delays.
    pub count: u64,
}

impl Row {
    /// Returns an empty row, of the delays that will be tried.
    pub const fn new(tried: Range<u64>) -> Self {
        Self { tried, first: u64::MAX, last: 0, count: 0 }
    }

    /// Notes that it happened after `delay`.
    pub fn note(&mut self, delay: u64) {
        self.first = self.first.min(delay);
        self.last = self.last.max(delay);
        self.count += 1;
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tried, first, last, count } = self;
        let cut = *first == tried.start || last + 1 == tried.end;
        let row = (last + 1).saturating_sub(*first);
        write!(f, "{count} of {row} in a row{}", if cut { ", cut off" } else { "" })
    }
}
