//! What a packet costs from one program's memory into a ring, and out of it into another one's: through a channel
//! ([`sluice_channel`]), and beside it through DPDK's `rte_ring`, with copies.
//!
//! Writer and reader are one thread. A burst of 32 packets is written and then read; one clock runs over both. Nobody
//! is overrun. Before each burst its packets are numbered, and behind it every byte of them is compared, outside the
//! clock. All that is compared takes turns ([`turns`]).
//!
//! Reading order: [`sluice`] (ours), [`dpdk`].

mod dpdk;
mod sluice;

use crate::clock::ticks;
use crate::dpdk::Dpdk;
use crate::quiet::Quiet;
use crate::turns::{self, Chunks, Options};
use anyhow::{Context, Result, ensure};
use dpdk::Theirs;
use sluice::Ours;
use sluice_report::channel::ChannelRow;

/// Packets of a burst, and of a ring: rte_ring has as many elements, and a channel has room for as many.
const BURST: usize = 32;
const PACKETS: usize = 1024;
/// Lengths of packets in bytes.
const FRAMES: [u16; 2] = [64, 1518];

/// The packets of a burst, one behind the other.
struct Packets {
    /// Length of a packet in bytes, and from the start of one to that of the next.
    len: usize,
    stride: usize,
    from: Vec<u8>,
    to: Vec<u8>,
    number: u64,
}

impl Packets {
    fn new(len: u16, stride: usize) -> Self {
        let from = (0..BURST * stride).map(|at| (at * 7) as u8).collect();
        Self { len: len.into(), stride, from, to: vec![0; BURST * stride], number: 0 }
    }

    /// Returns the packets that are written.
    fn written(&self) -> impl Iterator<Item = &[u8]> {
        self.from.chunks(self.stride).map(|packet| &packet[..self.len])
    }

    /// Lets `carry` bring packets that were never written before to where they are read, and returns the ticks that it
    /// took.
    fn carry(&mut self, carry: impl FnOnce(&mut Self) -> Result<()>) -> Result<u64> {
        for packet in self.from.chunks_mut(self.stride) {
            self.number += 1;
            packet[..8].copy_from_slice(&self.number.to_le_bytes());
        }
        let start = ticks();
        let carried = carry(self);
        let spent = ticks() - start;
        carried?;
        let same = self.written().zip(self.to.chunks(self.stride)).all(|(from, to)| from == &to[..self.len]);
        ensure!(same, "a packet came through as another one");
        Ok(spent)
    }
}

/// What carries bursts.
trait Subject {
    /// Carries a burst, and returns the ticks that it took.
    ///
    /// # Errors
    /// A packet did not come through.
    fn burst(&mut self) -> Result<u64>;
}

/// Something that takes turns, and its row without figures.
type Rival = (Box<dyn Subject>, ChannelRow);

/// Measures; each row goes to `print`.
///
/// # Errors
/// A packet did not come through, or there is no memory.
pub fn run(options: &Options, mut print: impl FnMut(&ChannelRow) -> Result<()>) -> Result<()> {
    let mut quiet = Quiet::new()?;
    for frame in FRAMES {
        let mut rivals = rivals(options, frame)?;
        // Each row is about a ring that was gone round.
        let warm_ups = vec![2 * PACKETS / BURST; rivals.len()];
        let burst = |number: usize| {
            let (subject, row) = &mut rivals[number];
            subject.burst().with_context(|| row.r#impl.clone())
        };
        let all = turns::take(&mut quiet, options.seconds, BURST, &warm_ups, burst)?;
        let rows: Vec<ChannelRow> = rivals.into_iter().map(|(_, row)| row).collect();
        with_figures(&rows, &all).try_for_each(|row| print(&row))?;
    }
    Ok(())
}

fn rivals(options: &Options, frame: u16) -> Result<Vec<Rival>> {
    let row = |name: &str| ChannelRow { r#impl: name.into(), frame, burst: BURST, ..ChannelRow::default() };
    let mut rivals: Vec<Rival> = vec![(Box::new(Ours::new(frame)?), row("sluice-channel"))];
    if let Some(library) = &options.rte_vhost {
        let dpdk = Dpdk::hold(library)?;
        for (name, mbufs) in [("rte_ring-elements", false), ("rte_ring-mbufs", true)] {
            rivals.push((Box::new(Theirs::new(&dpdk, frame, mbufs, PACKETS as u32)?), row(name)));
        }
    }
    Ok(rivals)
}

/// Returns the rows with what came of their turns.
fn with_figures(rows: &[ChannelRow], all: &[Chunks]) -> impl Iterator<Item = ChannelRow> {
    rows.iter().zip(all).map(move |(row, ours)| {
        let ratio_to = |name| {
            let them = rows.iter().position(|them| them.r#impl == name && row.r#impl != name);
            them.and_then(|them| ours.ratio(&all[them]))
        };
        ChannelRow {
            ratio_to_elements: ratio_to("rte_ring-elements"),
            ratio_to_mbufs: ratio_to("rte_ring-mbufs"),
            quiet_chunks: ours.quiet,
            chunks: ours.count(),
            ticks_per_packet: ours.median(),
            ..row.clone()
        }
    })
}

#[cfg(test)]
mod tests;
