//! What the two processors are like: how fast each is, and how far one is from the other.

use crate::clock::pin;
use crate::quiet::work;
use crate::two_cores::{Shared, ends};
use anyhow::{Result, anyhow};
use std::thread;

/// Readings of the loop of fixed work, and measurements of the round trip, of which the least counts: other programs
/// may have a part of the processor meanwhile.
const READINGS: usize = 2_000;
const TRIPS: usize = 20;

/// What was seen by one look at the processors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Ticks of a loop of fixed work on the slower one.
    pub slower: u64,
    /// Nanoseconds that a cache line takes from one to the other and back.
    pub round_trip: f64,
}

/// Two processors.
pub struct Cores {
    pub cpus: [usize; 2],
    /// The best reading of the loop of fixed work so far.
    pub best: u64,
}

impl Cores {
    pub const fn new(cpus: [usize; 2]) -> Self {
        Self { cpus, best: u64::MAX }
    }

    /// Looks at both.
    pub fn look(&mut self) -> Result<Look> {
        let shared = Shared::default();
        let (producer, consumer) = ends(&shared);
        let read = |cpu| pin(cpu).map(|()| (0..READINGS).map(|_| work()).min().unwrap_or(u64::MAX));
        let [one, other] = self.cpus;
        let work_and_trips = || -> Result<_> {
            let read = read(one)?;
            let trips: Vec<f64> = (0..TRIPS).map(|_| producer.round_trip()).collect::<Result<_>>()?;
            drop(producer);
            Ok((read, trips.into_iter().fold(f64::INFINITY, f64::min)))
        };
        let (first, second) = thread::scope(|scope| {
            let second = scope.spawn(move || read(other).and_then(|read| consumer.run(&mut []).map(|()| read)));
            let first = scope.spawn(work_and_trips);
            (first.join(), second.join())
        });
        let panicked = |_| anyhow!("a thread panicked");
        let ((first, round_trip), second) = (first.map_err(panicked)??, second.map_err(panicked)??);
        self.best = self.best.min(first).min(second);
        Ok(Look { slower: first.max(second), round_trip })
    }
}
