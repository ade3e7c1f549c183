//! The time-stamp counter, and threads that stay where they are.

use anyhow::{Result, anyhow};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
/// Ticks so far. Everything before it has ended, stores on their way to memory excepted.
pub use sluice_vnf::clock::now as ticks;

/// Ticks from one reading of the clock to the next.
pub fn empty() -> u64 {
    (0..64).map(|_| ticks().abs_diff(ticks())).min().unwrap_or(0)
}

/// A call that takes this number of times the median of its turn was interrupted, and is not counted.
const INTERRUPTED: u64 = 10;

/// Ticks a packet of `calls`, ticks of calls with `burst` packets each.
pub fn cost(mut calls: Vec<u64>, burst: u16) -> f64 {
    calls.sort_unstable();
    let most = calls.get(calls.len() / 2).map_or(0, |median| INTERRUPTED * (median + 1));
    calls.retain(|&ticks| ticks <= most);
    calls.iter().sum::<u64>() as f64 / (calls.len() as f64 * f64::from(burst))
}

/// The processors that this program may use.
pub fn processors() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Keeps the calling thread on processor `cpu`.
pub fn pin(cpu: usize) -> Result<()> {
    pin_thread(None, cpu)
}

/// Keeps a thread, or the calling one, on processor `cpu`.
pub fn pin_thread(thread: Option<Pid>, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(thread, &set).map_err(|error| anyhow!("processor {cpu}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_call_does_not_count() {
        assert_eq!(cost(vec![64, 96, 128], 32), 3.0);
        assert_eq!(cost(vec![64, 96, 128, 10_000], 32), 3.0);
        assert_eq!(cost(vec![0, 0, 0], 1), 0.0);
    }
}
