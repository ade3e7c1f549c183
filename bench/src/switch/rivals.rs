//! All that takes turns, and the rows that come of it.

use super::name;
use super::subject::{Subject, Work};
use crate::quiet::Quiet;
use crate::turns;
use anyhow::Result;
use sluice_report::switch::SwitchRow;
use sluice_switch::BURST;

/// Fewest and most bursts of a turn's warm-up, which has a packet for each flow if it may: it brings back what other
/// subjects threw out of the caches, among it the page tables of a large table.
const WARM_UP: [usize; 2] = [32, 1024];

/// The number of a rival.
pub type Number = usize;

/// Something that takes turns: a row without figures, and who it is about.
struct Rival {
    work: Work,
    row: SwitchRow,
    subject: usize,
    /// Names of others, and their numbers.
    compared: Vec<(&'static str, Number)>,
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
        self.all.push(Rival { work, row, subject: self.subjects.len() - 1, compared });
        self.all.len() - 1
    }

    /// Lets all take turns for a number of seconds, and returns the rows.
    pub fn measure(mut self, quiet: &mut Quiet, seconds: u32) -> Result<Vec<SwitchRow>> {
        let bursts = |rival: &Rival| (rival.row.flows as usize / BURST).clamp(WARM_UP[0], WARM_UP[1]);
        let warm_ups: Vec<usize> = self.all.iter().map(bursts).collect();
        let burst = |number: usize| {
            let Rival { work, subject, .. } = self.all[number];
            self.subjects[subject].burst(work)
        };
        let chunks = turns::take(quiet, seconds, BURST, &warm_ups, burst)?;
        let row = |(rival, ours): (Rival, &turns::Chunks)| {
            let ratios = rival.compared.iter();
            let ratios = ratios.filter_map(|(name, other)| Some(((*name).to_owned(), ours.ratio(&chunks[*other])?)));
            SwitchRow {
                quiet_chunks: ours.quiet,
                chunks: ours.count(),
                ticks_per_packet: ours.median(),
                ratios: ratios.collect(),
                changes: self.subjects[rival.subject].changes(),
                ..rival.row
            }
        };
        Ok(self.all.into_iter().zip(&chunks).map(row).collect())
    }
}
