//! All that takes turns, and the rows that come of it.

use super::quiet::{Beside, Quiet};
use super::subject::{Subject, Work};
use super::{name, warm_up};
use crate::clock::empty;
use crate::statistics::{median, paired};
use anyhow::Result;
use sluice_report::switch::SwitchRow;
use sluice_switch::BURST;
use std::time::{Duration, Instant};

/// Bursts of a chunk, and chunks of a turn.
const CHUNK: usize = 64;
const CHUNKS: usize = 8;
/// Fewest chunks of each that must count; for them it may take this number of times the seconds asked for.
const FEWEST: usize = 20;
const PATIENCE: u32 = 4;

/// The number of a rival.
pub type Number = usize;

/// Something that takes turns: a row without figures, who it is about, and what came of each turn.
struct Rival {
    work: Work,
    row: SwitchRow,
    subject: usize,
    /// Names of others, and their numbers.
    compared: Vec<(&'static str, Number)>,
    chunks: Vec<(f64, Beside)>,
}

/// All that takes turns.
#[derive(Default)]
pub struct Rivals {
    subjects: Vec<Box<dyn Subject>>,
    all: Vec<Rival>,
}

impl Rivals {
    /// Adds somebody whose rows follow.
    pub fn subject(&mut self, subject: impl Subject + 'static) {
        self.subjects.push(Box::new(subject));
    }

    /// Adds a row of the last subject, about `work`, with ratios to others. Returns its number.
    pub fn add(&mut self, work: Work, row: &SwitchRow, compared: &[(&'static str, Option<Number>)]) -> Number {
        let row = SwitchRow { work: name(work), ..row.clone() };
        let compared = compared.iter().filter_map(|(name, number)| Some((*name, (*number)?))).collect();
        self.all.push(Rival { work, row, subject: self.subjects.len() - 1, compared, chunks: Vec::new() });
        self.all.len() - 1
    }

    /// Lets all take turns for a number of seconds.
    pub fn measure(&mut self, quiet: &mut Quiet, seconds: u32) -> Result<()> {
        let (empty, start, enough) = (empty(), Instant::now(), Duration::from_secs(seconds.into()));
        let count = if seconds == 0 { 1 } else { CHUNKS };
        loop {
            for rival in &mut self.all {
                let (subject, work) = (self.subjects[rival.subject].as_mut(), rival.work);
                warm_up(subject, work, rival.row.flows)?;
                for _ in 0..count {
                    rival.chunks.push(chunk(subject, work, empty, quiet)?);
                }
            }
            let passed = start.elapsed();
            let few = |rival: &Rival| rival.counting(quiet).flatten().take(FEWEST).count() < FEWEST;
            if passed >= PATIENCE * enough || passed >= enough && !self.all.iter().any(few) {
                return Ok(());
            }
        }
    }

    /// Returns the rows, of the chunks that count or of `any`.
    pub fn rows(&self, quiet: &Quiet, any: bool) -> Vec<SwitchRow> {
        let chunks: Vec<Vec<Option<f64>>> = self.all.iter().map(|rival| rival.ticks(quiet, any)).collect();
        let row = |(rival, ours): (&Rival, &Vec<Option<f64>>)| {
            let counting: Vec<f64> = ours.iter().flatten().copied().collect();
            let ratios = rival.compared.iter();
            let ratios = ratios.filter_map(|(name, other)| Some(((*name).to_owned(), ratio(ours, &chunks[*other])?)));
            SwitchRow {
                quiet_chunks: rival.counting(quiet).flatten().count(),
                chunks: ours.len(),
                ticks_per_packet: (!counting.is_empty()).then(|| median(counting)),
                ratios: ratios.collect(),
                changes: self.subjects[rival.subject].changes(),
                ..rival.row.clone()
            }
        };
        self.all.iter().zip(&chunks).map(row).collect()
    }
}

impl Rival {
    /// Returns the ticks of each chunk that counts.
    fn counting(&self, quiet: &Quiet) -> impl Iterator<Item = Option<f64>> {
        self.chunks.iter().map(|(ticks, beside)| quiet.counts(*beside).then_some(*ticks))
    }

    /// Returns the ticks of each chunk that counts, or of `any`.
    fn ticks(&self, quiet: &Quiet, any: bool) -> Vec<Option<f64>> {
        self.counting(quiet).zip(&self.chunks).map(|(counts, (ticks, _))| counts.or(any.then_some(*ticks))).collect()
    }
}

/// The median of the ratios of the chunks in which both count.
pub fn ratio(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<f64> {
    let (ours, theirs): (Vec<f64>, Vec<f64>) = ours.iter().zip(theirs).filter_map(|(a, b)| (*a).zip(*b)).unzip();
    paired(&ours, &theirs)
}

/// Returns the ticks a packet of a chunk, of which the clock takes `empty` a burst, and what was read beside it.
fn chunk(subject: &mut dyn Subject, work: Work, empty: u64, quiet: &mut Quiet) -> Result<(f64, Beside)> {
    let bursts = || (0..CHUNK).try_fold(0, |sum, _| Ok(sum + subject.burst(work)?.saturating_sub(empty)));
    let (ticks, beside): (Result<u64>, _) = quiet.beside(bursts)?;
    Ok((ticks? as f64 / (CHUNK * BURST) as f64, beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_that_do_not_count_have_no_part_in_a_ratio() {
        let ours = [Some(8.0), Some(100.0), None, Some(9.0)];
        let theirs = [Some(16.0), None, Some(1.0), Some(18.0)];
        assert_eq!((ratio(&ours, &theirs), ratio(&ours[1..2], &theirs[1..2])), (Some(0.5), None));
    }
}
