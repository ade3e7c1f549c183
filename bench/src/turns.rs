//! Turns of all that is compared, one after the other (A B C A B C). A turn is a warm-up and eight chunks of 64 bursts,
//! which count as [`quiet`](crate::quiet) says. A row is the median of its chunks; a ratio is the median of the ratios
//! of chunks with the same place in the same round.

use crate::clock::empty;
use crate::quiet::{Beside, Quiet};
use crate::statistics::{median, paired};
use anyhow::Result;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Bursts of a chunk, and chunks of a turn.
pub const CHUNK: usize = 64;
const CHUNKS: usize = 8;
/// Fewest chunks of each that must count; for them it may take this number of times the seconds asked for.
const FEWEST: usize = 20;
const PATIENCE: u32 = 4;

/// How long what is compared takes turns, and whether DPDK's code is among it.
#[derive(clap::Args)]
pub struct Options {
    /// Seconds for each length and number of flows; more, if few chunks were quiet. 0: one chunk of each, quiet or not
    #[arg(long, default_value_t = 5)]
    pub seconds: u32,
    /// The library made of the files in rte_vhost; without it, no rows of DPDK's code
    #[arg(long)]
    pub rte_vhost: Option<PathBuf>,
}

/// What came of all turns of one.
pub struct Chunks {
    /// Ticks of each chunk, for one of what a burst is divided by; nothing if it has no part in a figure.
    ticks: Vec<Option<f64>>,
    /// Number of chunks that count.
    pub quiet: usize,
}

impl Chunks {
    /// Returns the chunks `all`, of which those have a part in a figure that count, or `any`.
    fn of(all: &[(f64, Beside)], quiet: &Quiet, any: bool) -> Self {
        let ticks = all.iter().map(|(ticks, beside)| (any || quiet.counts(*beside)).then_some(*ticks));
        Self { ticks: ticks.collect(), quiet: counting(all, quiet).count() }
    }

    /// Returns the number of all chunks.
    pub fn count(&self) -> usize {
        self.ticks.len()
    }

    /// Returns the median; nothing without chunks that have a part in it.
    pub fn median(&self) -> Option<f64> {
        let ticks: Vec<f64> = self.ticks.iter().flatten().copied().collect();
        (!ticks.is_empty()).then(|| median(ticks))
    }

    /// Returns the median of the ratios to the chunks of `theirs` with the same place in the same round.
    pub fn ratio(&self, theirs: &Self) -> Option<f64> {
        let pairs = self.ticks.iter().zip(&theirs.ticks).filter_map(|(a, b)| (*a).zip(*b));
        let (ours, theirs): (Vec<f64>, Vec<f64>) = pairs.unzip();
        paired(&ours, &theirs)
    }
}

/// Returns those that count.
fn counting<'c>(all: &'c [(f64, Beside)], quiet: &Quiet) -> impl Iterator<Item = &'c (f64, Beside)> {
    all.iter().filter(|(_, beside)| quiet.counts(*beside))
}

/// Lets all take turns for a number of seconds. 0: one chunk of each, quiet or not. `warm_ups` has the bursts before
/// the chunks of each one's turn, by its number; `burst` does a burst of that number, and returns the ticks that it
/// took, which are divided by `parts`.
pub fn take(
    quiet: &mut Quiet,
    seconds: u32,
    parts: usize,
    warm_ups: &[usize],
    mut burst: impl FnMut(usize) -> Result<u64>,
) -> Result<Vec<Chunks>> {
    let (empty, start, enough) = (empty(), Instant::now(), Duration::from_secs(seconds.into()));
    let count = if seconds == 0 { 1 } else { CHUNKS };
    let mut all: Vec<Vec<(f64, Beside)>> = vec![Vec::new(); warm_ups.len()];
    loop {
        for (number, chunks) in all.iter_mut().enumerate() {
            (0..warm_ups[number]).try_for_each(|_| burst(number).map(drop))?;
            for _ in 0..count {
                let bursts = || (0..CHUNK).try_fold(0, |sum, _| Ok(sum + burst(number)?.saturating_sub(empty)));
                let (ticks, beside): (Result<u64>, _) = quiet.beside(bursts)?;
                chunks.push((ticks? as f64 / (CHUNK * parts) as f64, beside));
            }
        }
        let passed = start.elapsed();
        let few = |chunks: &Vec<_>| counting(chunks, quiet).take(FEWEST).count() < FEWEST;
        if passed >= PATIENCE * enough || passed >= enough && !all.iter().any(few) {
            return Ok(all.iter().map(|chunks| Chunks::of(chunks, quiet, seconds == 0)).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_that_do_not_count_have_no_part_in_a_ratio() {
        let of = |ticks: &[Option<f64>]| Chunks { ticks: ticks.to_vec(), quiet: 0 };
        let ours = [Some(8.0), Some(100.0), None, Some(9.0)];
        let theirs = [Some(16.0), None, Some(1.0), Some(18.0)];
        assert_eq!((of(&ours).ratio(&of(&theirs)), of(&ours[1..2]).ratio(&of(&theirs[1..2]))), (Some(0.5), None));
        assert_eq!((of(&ours).median(), of(&ours).count(), of(&ours[2..3]).median()), (Some(9.0), 4, None));
    }

    #[test]
    fn a_turn_of_no_seconds_is_a_warm_up_and_one_chunk_of_each() {
        let mut bursts = [0; 2];
        let burst = |number: usize| {
            bursts[number] += 1;
            Ok(if bursts[number] <= [3, 5][number] { 1 << 40 } else { 1 << 20 })
        };
        let all = take(&mut Quiet::new().unwrap(), 0, 32, &[3, 5], burst).unwrap();
        assert_eq!(bursts, [3 + CHUNK, 5 + CHUNK]);
        for chunks in all {
            let ticks = chunks.median().unwrap();
            assert!(chunks.count() == 1 && (32_000.0..=32_768.0).contains(&ticks), "{ticks}");
        }
    }
}
