//! A host that changes its table while a reader looks other entries up.

use super::cache::{Cache, Host};
use super::subject::{Subject, Work};
use super::table::Table;
use crate::clock::{pin, ticks};
use anyhow::Result;
use sluice_switch::{EntryId, Quiescence};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Changes in a second.
const RATE: u32 = 10_000;
/// Flows that come and go at a time.
const COMING: usize = 8;

/// A reader, and its host in a thread of its own.
pub struct Changing {
    cache: Cache,
    since: Instant,
    changes: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Changing {
    /// Begins to change the table of `cache`, which has entries for `flows` flows, on processor `cpu`.
    pub fn new(cache: Cache, host: Host, flows: u32, cpu: usize) -> Result<Self> {
        let (changes, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, end) = (changes.clone(), over.clone());
        let work = move || {
            // On the reader's processor it would only take turns with it, which the chunks show.
            let _ = pin(cpu);
            change(host, flows, &count, &end);
        };
        let thread = thread::Builder::new().name("host".into()).spawn(work)?;
        Ok(Self { cache, since: Instant::now(), changes, over, thread: Some(thread) })
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Subject for Changing {
    fn burst(&mut self, work: Work) -> Result<u64> {
        self.cache.burst(work)
    }

    fn changes(&self) -> Option<f64> {
        Some(self.changes.load(Relaxed) as f64 / self.since.elapsed().as_secs_f64())
    }
}

/// Adds flows from number `flows` on, and removes them again. Each is a change, and an epoch of its own.
fn change(mut host: Host, flows: u32, changes: &AtomicU64, over: &AtomicBool) {
    let (mut quiescence, mut coming, start) = (Quiescence::default(), VecDeque::<EntryId>::new(), Instant::now());
    quiescence.join(0, host.report, host.writer.epoch(), ticks());
    for number in 0.. {
        while start + number * Duration::from_secs(1) / RATE > Instant::now() {
            sleep(Duration::from_micros(50));
        }
        if over.load(Relaxed) {
            return;
        }
        let gone = if coming.len() < COMING { None } else { coming.pop_front() };
        let changed = match gone {
            Some(id) => host.writer.remove(id),
            // A reader that was switched out reports late, and until then nothing is free.
            None => match Table::Exact.insert(&mut host.writer, flows + number) {
                Ok(id) => {
                    coming.push_back(id);
                    true
                }
                Err(_) => false,
            },
        };
        let epoch = host.writer.publish();
        host.writer.reclaim(quiescence.poll(epoch, ticks(), |_, _| ()));
        changes.fetch_add(changed.into(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::processors;
    use crate::switch::frames::Headers;

    /// Every look-up hits, as the entries that it wants stay; and the table does change.
    #[test]
    fn the_entries_of_others_change_while_a_reader_looks_its_own_up() {
        let (cache, host) = Cache::with_host(Table::Exact, 1000, false, Headers::Ipv4).unwrap();
        let cpu = processors().pop().unwrap();
        let mut changing = Changing::new(cache, host, 1000, cpu).unwrap();
        let start = Instant::now();
        while changing.changes.load(Relaxed) < 500 && start.elapsed() < Duration::from_secs(60) {
            changing.burst(Work::All).unwrap();
        }
        assert!(changing.changes.load(Relaxed) >= 500 && changing.changes().is_some_and(|rate| rate > 0.0));
    }
}
