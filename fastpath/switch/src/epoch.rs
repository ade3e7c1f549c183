//! The word of the epoch in a table's header: one store makes all that was written before it a version of the table.

use crate::line::Line;
use core::sync::atomic::Ordering::{Acquire, Release};

/// Word of the header.
const EPOCH: usize = 0;

/// Opens `epoch`: whoever loads it sees all that was written before.
pub fn publish<L: Line>(header: &L, epoch: u64) {
    header.store(EPOCH, epoch, Release);
}

/// Returns the epoch that was opened last.
#[inline(always)]
pub fn load<L: Line>(header: &L) -> u64 {
    header.load(EPOCH, Acquire)
}
