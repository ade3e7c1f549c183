//! What a hop of a service chain costs: three forwarders, each with a memory of its own, on one core; and beside them
//! three links of DPDK's ports, by memif, and by vhost and virtio-user.
//!
//! A hop is what brings a burst of 32 frames from one forwarder's memory into the next one's, and out of its receive
//! queue: of ours, [`Transmit::tx_burst`](::sluice::Transmit) and [`Receive::rx_burst`](::sluice::Receive) with the
//! gate `direct`; of DPDK's, `rte_eth_tx_burst` and `rte_eth_rx_burst`. With `nsh`, each forwarder does, besides, what
//! a hop does with a network service header: [`Router::forward_burst`](sluice_chain::Router). Nobody makes frames, or
//! frees them, while the clock runs. All that is compared takes turns ([`turns`]).
//!
//! Reading order: [`sluice`] (ours), [`dpdk`].

mod dpdk;
mod sluice;

use crate::quiet::Quiet;
use crate::turns::{self, Chunks, Options};
use anyhow::{Context, Result};
use dpdk::Dpdk;
use sluice::Forwarders;
use sluice_report::chain::ChainRow;

/// Hops of a chain.
const HOPS: usize = 3;
/// Frames of a burst.
const BURST: usize = 32;
/// Length of a frame of 64 bytes without its check sequence, and with a network service header of MD type 1 and the
/// Ethernet header before it.
const PLAIN: u16 = 60;
const CHAINED: u16 = PLAIN + 38;

/// Code that carries bursts over a chain.
trait Subject {
    /// Carries a burst over all hops, and returns the ticks that it took.
    ///
    /// # Errors
    /// A frame did not come through.
    fn burst(&mut self) -> Result<u64>;
}

/// Something that takes turns, and its row without figures.
type Rival = (Box<dyn Subject>, ChainRow);

/// Measures; each row goes to `print`.
///
/// # Errors
/// A frame did not come through, or there is no memory.
pub fn run(options: &Options, mut print: impl FnMut(&ChainRow) -> Result<()>) -> Result<()> {
    let mut quiet = Quiet::new()?;
    let mut rivals = rivals(options)?;
    let warm_ups = vec![turns::CHUNK; rivals.len()];
    let burst = |number: usize| {
        let (subject, row) = &mut rivals[number];
        subject.burst().with_context(|| row.r#impl.clone())
    };
    let all = turns::take(&mut quiet, options.seconds, BURST * HOPS, &warm_ups, burst)?;
    let rows: Vec<ChainRow> = rivals.into_iter().map(|(_, row)| row).collect();
    with_figures(&rows, &all).try_for_each(|row| print(&row))
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
    (subject, row)
}

/// Returns the rows with what came of their turns.
fn with_figures(rows: &[ChainRow], all: &[Chunks]) -> impl Iterator<Item = ChainRow> {
    rows.iter().zip(all).map(move |(row, ours)| {
        let ratio_to = |name| {
            let same = |them: &ChainRow| them.r#impl == name && them.frame == row.frame;
            let them = rows.iter().position(same).filter(|_| row.r#impl == "sluice");
            them.and_then(|them| ours.ratio(&all[them]))
        };
        ChainRow {
            ratio_to_memif: ratio_to("memif"),
            ratio_to_vhost: ratio_to("vhost"),
            quiet_chunks: ours.quiet,
            chunks: ours.count(),
            ticks_per_hop: ours.median(),
            ..row.clone()
        }
    })
}

#[cfg(test)]
mod tests;
