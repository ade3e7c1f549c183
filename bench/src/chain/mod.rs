//! What a hop of a service chain costs: three forwarders, each with a memory of its own, on one core; and beside them
//! three links of DPDK's ports, by memif, and by vhost and virtio-user.
//!
//! A hop is what brings a burst of 32 frames from one forwarder's memory into the next one's, and out of its receive
//! queue: of ours, [`Transmit::tx_burst`](::sluice::Transmit) and [`Receive::rx_burst`](::sluice::Receive) with the
//! gate `direct`; of DPDK's, `rte_eth_tx_burst` and `rte_eth_rx_burst`. With `nsh`, each forwarder does, besides, what
//! a hop does with a network service header: [`Router::forward`](sluice_chain::Router). Nobody makes frames, or frees
//! them, while the clock runs. All that is compared takes turns, and chunks count, as in the flow cache's benchmark.
//!
//! Reading order: [`sluice`] (ours), [`dpdk`].

mod dpdk;
mod sluice;

use crate::clock::empty;
use crate::statistics::median;
use crate::switch::quiet::{Beside, Quiet};
use crate::switch::ratio;
use anyhow::{Context, Result};
use dpdk::Dpdk;
use sluice::Forwarders;
use sluice_report::chain::ChainRow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Hops of a chain.
const HOPS: usize = 3;
/// Frames of a burst.
const BURST: usize = 32;
/// Length of a frame of 64 bytes without its check sequence, and with a network service header of MD type 1 and the
/// Ethernet header before it.
const PLAIN: u16 = 60;
const CHAINED: u16 = PLAIN + 38;
/// Bursts of a chunk and of a warm-up, and chunks of a turn.
const CHUNK: usize = 64;
const CHUNKS: usize = 8;
/// Fewest chunks of each that must count; for them it may take this number of times the seconds asked for.
const FEWEST: usize = 20;
const PATIENCE: u32 = 4;

/// Measures what a hop of a service chain costs; prints rows of JSON, one a line.
#[derive(clap::Args)]
pub struct Options {
    /// Seconds to measure; more, if few chunks were quiet. 0: one chunk of each, quiet or not
    #[arg(long, default_value_t = 5)]
    pub seconds: u32,
    /// The library made of rte_vhost/rte_vhost.c; without it, no rows of memif and vhost
    #[arg(long)]
    pub rte_vhost: Option<PathBuf>,
}

/// Code that carries bursts over a chain.
trait Subject {
    /// Carries a burst over all hops, and returns the ticks that it took.
    ///
    /// # Errors
    /// A frame did not come through.
    fn burst(&mut self) -> Result<u64>;
}

/// Something that takes turns, its row without figures, and what came of each chunk.
struct Rival {
    subject: Box<dyn Subject>,
    row: ChainRow,
    chunks: Vec<(f64, Beside)>,
}

/// Measures; each row goes to `print`.
///
/// # Errors
/// A frame did not come through, or there is no memory.
pub fn run(options: &Options, mut print: impl FnMut(&ChainRow) -> Result<()>) -> Result<()> {
    let mut quiet = Quiet::new()?;
    let mut rivals = rivals(options)?;
    measure(&mut rivals, &mut quiet, options.seconds)?;
    rows(&rivals, &quiet, options.seconds == 0).iter().try_for_each(&mut print)
}

fn rivals(options: &Options) -> Result<Vec<Rival>> {
    let mut rivals = Vec::new();
    for (frame, nsh) in [(PLAIN, false), (CHAINED, false), (CHAINED, true)] {
        let subject = Forwarders::new(frame, nsh).context("sluice")?;
        rivals.push(rival(Box::new(subject), "sluice", frame, nsh));
    }
    let Some(library) = &options.rte_vhost else { return Ok(rivals) };
    for (name, vhost) in [("memif", false), ("vhost", true)] {
        for frame in [PLAIN, CHAINED] {
            match Dpdk::new(library, vhost, frame) {
                Ok(links) => rivals.push(rival(Box::new(links), name, frame, false)),
                Err(why) => eprintln!("No row of {name}: {why:#}"),
            }
        }
    }
    Ok(rivals)
}

fn rival(subject: Box<dyn Subject>, r#impl: &str, frame: u16, nsh: bool) -> Rival {
    let row = ChainRow { r#impl: r#impl.into(), hops: HOPS, frame, nsh, ..ChainRow::default() };
    Rival { subject, row, chunks: Vec::new() }
}

/// Lets all take turns for a number of seconds.
fn measure(rivals: &mut [Rival], quiet: &mut Quiet, seconds: u32) -> Result<()> {
    let (empty, start, enough) = (empty(), Instant::now(), Duration::from_secs(seconds.into()));
    let count = if seconds == 0 { 1 } else { CHUNKS };
    loop {
        for rival in rivals.iter_mut() {
            let context = || rival.row.r#impl.clone();
            (0..CHUNK).try_for_each(|_| rival.subject.burst().map(drop)).with_context(context)?;
            for _ in 0..count {
                rival.chunks.push(chunk(rival.subject.as_mut(), empty, quiet).with_context(context)?);
            }
        }
        let passed = start.elapsed();
        let few = |rival: &Rival| counting(rival, quiet).flatten().take(FEWEST).count() < FEWEST;
        if passed >= PATIENCE * enough || passed >= enough && !rivals.iter().any(few) {
            return Ok(());
        }
    }
}

/// Returns the ticks a packet and hop of a chunk, and what was read beside it.
fn chunk(subject: &mut dyn Subject, empty: u64, quiet: &mut Quiet) -> Result<(f64, Beside)> {
    let work = || -> Result<u64> {
        let mut all = 0;
        for _ in 0..CHUNK {
            all += subject.burst()?.saturating_sub(empty);
        }
        Ok(all)
    };
    let (ticks, beside) = quiet.beside(work)?;
    Ok((ticks? as f64 / (CHUNK * BURST * HOPS) as f64, beside))
}

/// Returns the ticks of each chunk, if it counts.
fn counting(rival: &Rival, quiet: &Quiet) -> impl Iterator<Item = Option<f64>> {
    rival.chunks.iter().map(|(ticks, beside)| quiet.counts(*beside).then_some(*ticks))
}

/// Returns the rows, of the chunks that count or of `any`.
fn rows(rivals: &[Rival], quiet: &Quiet, any: bool) -> Vec<ChainRow> {
    let chunks = |rival: &Rival| -> Vec<Option<f64>> {
        counting(rival, quiet).zip(&rival.chunks).map(|(counts, (ticks, _))| counts.or(any.then_some(*ticks))).collect()
    };
    let of = |name: &str, frame: u16| {
        rivals.iter().find(|rival| rival.row.r#impl == name && rival.row.frame == frame).map(chunks)
    };
    let row = |rival: &Rival| {
        let ours = chunks(rival);
        let counting: Vec<f64> = ours.iter().flatten().copied().collect();
        let ratio_to =
            |name| of(name, rival.row.frame).filter(|_| rival.row.r#impl == "sluice").and_then(|it| ratio(&ours, &it));
        ChainRow {
            ratio_to_memif: ratio_to("memif"),
            ratio_to_vhost: ratio_to("vhost"),
            quiet_chunks: self::counting(rival, quiet).flatten().count(),
            chunks: ours.len(),
            ticks_per_hop: (!counting.is_empty()).then(|| median(counting)),
            ..rival.row.clone()
        }
    };
    rivals.iter().map(row).collect()
}

#[cfg(test)]
mod tests;
