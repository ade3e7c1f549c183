//! What several files of tests need, of this package and of the one that has testpmd at the other end.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test runs. testpmd and the test take a processor each, and some tests count what the process
/// has open.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The open descriptors and shared mappings of this process.
#[derive(Debug, PartialEq, Eq)]
pub struct Open {
    descriptors: usize,
    mappings: usize,
}

impl Open {
    /// Counts them.
    pub fn now() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let shared = |line: &&str| line.split(' ').nth(1).is_some_and(|access| access.ends_with('s'));
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
        Self { descriptors, mappings: maps.lines().filter(shared).count() }
    }
}
