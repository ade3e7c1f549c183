//! What a packet costs in the flow cache (crate `fastpath/switch`), beside a look-up in DPDK's `rte_hash`.
//!
//! Frames are TCP and UDP over IPv4, of flows that are drawn evenly; they are warm, as all of them were just written.
//! For each number of flows all that is compared takes turns (A B C A B C). A turn is a warm-up and eight chunks of 64
//! bursts, which count as [`quiet`] says. A row is the median of its chunks; a ratio is the median of the ratios of
//! chunks with the same place in the same round.
//!
//! Reading order: [`subject`], [`cache`] and [`hash`] (what is measured), [`quiet`].

mod cache;
mod frames;
mod hash;
pub mod quiet;
mod subject;

use crate::clock::empty;
use crate::statistics::{median, paired};
use anyhow::{Context, Result};
use cache::{Cache, Table};
use frames::Headers;
use hash::RteHash;
use quiet::{Beside, Quiet};
use serde::Serialize;
use sluice_report::switch::SwitchRow;
use sluice_switch::BURST;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use subject::{Subject, Work};

/// Bursts of a chunk, and chunks of a turn.
const CHUNK: usize = 64;
const CHUNKS: usize = 8;
/// Fewest and most bursts of a turn's warm-up, which has a packet for each flow if it may: it brings back what other
/// subjects threw out of the caches, among it the page tables of a large table.
const WARM_UP: [usize; 2] = [32, 1024];
/// Numbers of flows of the rows about parsing: one, whose frames are alike, and many, half of them TCP and half UDP.
const PARSED_FLOWS: [u32; 2] = [1, 1000];
/// Fewest chunks of each that must count; for them it may take this number of times the seconds asked for.
const FEWEST: usize = 20;
const PATIENCE: u32 = 4;

/// Measures what a packet costs in the flow cache; prints rows of JSON, one a line.
#[derive(clap::Args)]
pub struct Options {
    /// Numbers of flows, 1 to 4,194,304, with commas
    #[arg(
        long,
        value_delimiter = ',', default_values_t = [10, 1_000, 64_000, 1_000_000],
        value_parser = clap::value_parser!(u32).range(1..=4_194_304)
    )]
    pub flows: Vec<u32>,
    /// Seconds for each number of flows; more, if few chunks were quiet. 0: one chunk of each, quiet or not
    #[arg(long, default_value_t = 5)]
    pub seconds: u32,
    /// The library made of rte_vhost/rte_vhost.c; without it, no rows of rte_hash
    #[arg(long)]
    pub rte_vhost: Option<PathBuf>,
}

/// Something that takes turns: a row without figures, who it is about, and what came of each turn.
struct Rival {
    work: Work,
    row: SwitchRow,
    subject: usize,
    chunks: Vec<(f64, Beside)>,
}

/// All that takes turns.
#[derive(Default)]
struct Rivals {
    subjects: Vec<Box<dyn Subject>>,
    all: Vec<Rival>,
}

/// Measures; each row goes to `print`.
///
/// # Errors
/// A look-up missed, a frame was not sent, or there is no memory.
pub fn run(options: &Options, mut print: impl FnMut(&SwitchRow) -> Result<()>) -> Result<()> {
    let mut quiet = Quiet::new()?;
    let mut measure = |what: &str, rivals: &dyn Fn() -> Result<Rivals>| {
        let mut rivals = rivals().with_context(|| what.to_owned())?;
        rivals.measure(&mut quiet, options.seconds).with_context(|| what.to_owned())?;
        rivals.rows(&quiet, options.seconds == 0).iter().try_for_each(&mut print)
    };
    measure("parsing", &Rivals::parsing)?;
    options.flows.iter().try_for_each(|&flows| measure(&format!("{flows} flows"), &|| Rivals::of(flows, options)))
}

impl Rivals {
    /// Returns loading and parsing of frames with each kind of headers.
    fn parsing() -> Result<Self> {
        let mut rivals = Self::default();
        for frame in [Headers::Ipv4, Headers::Vlan, Headers::Ipv6, Headers::Nsh] {
            for flows in PARSED_FLOWS {
                rivals.subjects.push(Box::new(Cache::new(Table::Wide, flows, false, frame)?));
                let row = SwitchRow { frame: name(frame), ..row("sluice", flows) };
                [Work::Load, Work::Parse].into_iter().for_each(|work| rivals.add(work, &row));
            }
        }
        Ok(rivals)
    }

    /// Returns look-ups among `flows` flows.
    fn of(flows: u32, options: &Options) -> Result<Self> {
        let mut rivals = Self::default();
        match options.rte_vhost.as_ref().map(|file| RteHash::new(file, flows)) {
            Some(Ok(hash)) => {
                rivals.subjects.push(Box::new(hash));
                let row = SwitchRow { pages: Some(4), large_share: Some(0.0), ..row("rte_hash", flows) };
                rivals.add(Work::Lookup, &row);
            }
            Some(Err(why)) => eprintln!("No rows of rte_hash: {why:#}"),
            None => {}
        }
        for table in Table::ALL {
            for (large, pages) in [(false, 4), (true, 2048)] {
                let cache = Cache::new(table, flows, large, Headers::Ipv4)?;
                let large_share = Some(cache.large_share()?);
                rivals.subjects.push(Box::new(cache));
                let (table, masks, pages) = (Some(name(table)), Some(table.masks()), Some(pages));
                let row = SwitchRow { table, masks, pages, large_share, ..row("sluice", flows) };
                [Work::Lookup, Work::Act, Work::Count, Work::All].into_iter().for_each(|work| rivals.add(work, &row));
            }
        }
        Ok(rivals)
    }

    /// Adds a row of the last subject, about `work`.
    fn add(&mut self, work: Work, row: &SwitchRow) {
        let row = SwitchRow { work: name(work), ..row.clone() };
        self.all.push(Rival { work, row, subject: self.subjects.len() - 1, chunks: Vec::new() });
    }

    /// Lets all take turns for a number of seconds.
    fn measure(&mut self, quiet: &mut Quiet, seconds: u32) -> Result<()> {
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
    fn rows(&self, quiet: &Quiet, any: bool) -> Vec<SwitchRow> {
        let chunks = |rival: &Rival| -> Vec<Option<f64>> {
            let counting = rival.counting(quiet).zip(&rival.chunks);
            counting.map(|(counts, (ticks, _))| counts.or(any.then_some(*ticks))).collect()
        };
        let theirs = self.all.iter().find(|rival| rival.row.r#impl == "rte_hash").map(chunks);
        let row = |rival: &Rival| {
            let chunks = chunks(rival);
            let counting: Vec<f64> = chunks.iter().flatten().copied().collect();
            let compared = rival.row.r#impl == "sluice" && rival.work == Work::Lookup;
            SwitchRow {
                quiet_chunks: rival.counting(quiet).flatten().count(),
                chunks: chunks.len(),
                ticks_per_packet: (!counting.is_empty()).then(|| median(counting)),
                ratio_to_rte_hash: theirs.as_ref().filter(|_| compared).and_then(|theirs| ratio(&chunks, theirs)),
                ..rival.row.clone()
            }
        };
        self.all.iter().map(row).collect()
    }
}

impl Rival {
    /// Returns the ticks of each chunk that counts.
    fn counting(&self, quiet: &Quiet) -> impl Iterator<Item = Option<f64>> {
        self.chunks.iter().map(|(ticks, beside)| quiet.counts(*beside).then_some(*ticks))
    }
}

/// The median of the ratios of the chunks in which both count.
pub fn ratio(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<f64> {
    let (ours, theirs): (Vec<f64>, Vec<f64>) = ours.iter().zip(theirs).filter_map(|(a, b)| (*a).zip(*b)).unzip();
    paired(&ours, &theirs)
}

/// Begins a turn of a subject that has `flows` flows.
fn warm_up(subject: &mut dyn Subject, work: Work, flows: u32) -> Result<()> {
    let bursts = (flows as usize / BURST).clamp(WARM_UP[0], WARM_UP[1]);
    (0..bursts).try_for_each(|_| subject.burst(work).map(drop))
}

/// Returns the ticks a packet of a chunk, of which the clock takes `empty` a burst, and what was read beside it.
fn chunk(subject: &mut dyn Subject, work: Work, empty: u64, quiet: &mut Quiet) -> Result<(f64, Beside)> {
    let bursts = || (0..CHUNK).try_fold(0, |sum, _| Ok(sum + subject.burst(work)?.saturating_sub(empty)));
    let (ticks, beside): (Result<u64>, _) = quiet.beside(bursts)?;
    Ok((ticks? as f64 / (CHUNK * BURST) as f64, beside))
}

/// Returns a row without work and figures.
fn row(r#impl: &str, flows: u32) -> SwitchRow {
    SwitchRow {
        r#impl: r#impl.into(),
        work: String::new(),
        frame: name(Headers::Ipv4),
        flows,
        table: None,
        masks: None,
        pages: None,
        large_share: None,
        ticks_per_packet: None,
        ratio_to_rte_hash: None,
        quiet_chunks: 0,
        chunks: 0,
    }
}

/// Returns the name of a variant without fields, as rows have it.
fn name(variant: impl Serialize) -> String {
    serde_json::to_value(variant).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests;
