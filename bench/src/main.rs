//! Measures an enqueue: Sluice's ring code and others', side by side on one memory, for one driver. And, as `ring-bench
//! switch`, look-ups in a table of flows; as `ring-bench chain`, hops of a service chain; as `ring-bench channel`,
//! packets through a channel;
//! as `ring-bench vms`, hops between VMs.
//!
//! One row for each implementation, ring, number of processors, burst and frame size: ticks of the time-stamp counter a
//! packet, the median of many short turns, in which all of them take turns (A B C A B C). `cargo xtask bench rings`
//! builds what this needs and runs it.
//!
//! Reading order: [`device`] (the device sides), [`driver`] (the other side), [`series`] (the measurement); [`switch`],
//! [`chain`] and [`channel`] stand apart, and share [`quiet`] and [`turns`]; [`vms`] measures other processes.

mod arena;
mod chain;
mod channel;
mod clock;
mod copy;
mod device;
mod dpdk;
mod driver;
mod imix;
mod layout;
mod one_core;
mod quiet;
mod receive;
mod rte_vhost;
mod sender;
mod series;
mod slot;
mod sluice_native;
mod sluice_window;
mod socket;
mod statistics;
mod switch;
mod turns;
mod two_cores;
mod virtio_queue;
mod vms;
mod world;

use anyhow::Result;
use clap::Parser;
use device::{Impl, Ring};
use imix::IMIX;
use series::{Row, Side};
use std::path::PathBuf;
use world::World;

/// Frame sizes, and the mix of them. The copies are made for each.
const FRAMES: [u16; 8] = [64, 128, 256, 512, 1024, 1518, IMIX, 9000];
/// Longest frame that goes into an ordinary buffer, bytes of such a buffer, and bytes of the others.
const SHORT: u16 = 1518;
const BUFFER: u32 = 2048;
const LARGE_BUFFER: u32 = 16_384;

/// Measures what an enqueue costs; prints rows of JSON, one a line. Cycles are ticks of the time-stamp counter.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    what: Option<What>,
    /// Whose work, with commas; of the driver's there are rows on one processor [default: both, or device with --impl]
    #[arg(long, value_delimiter = ',')]
    side: Vec<Side>,
    /// Whose device side, with commas [default: all]
    #[arg(long, value_delimiter = ',')]
    r#impl: Vec<Impl>,
    /// Ring formats, with commas
    #[arg(long, value_delimiter = ',', default_values = ["split", "in-order", "packed"])]
    ring: Vec<Ring>,
    /// Processors, 1 or 2, with commas
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2], value_parser = clap::value_parser!(u16).range(1..=2))]
    cores: Vec<u16>,
    /// Packets in a call, 1 to 256, with commas
    #[arg(
        long,
        value_delimiter = ',', default_values_t = [1, 8, 32, 64, 256],
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    burst: Vec<u16>,
    /// Frame sizes, and "imix" for the mix of them, with commas
    #[arg(
        long,
        value_delimiter = ',', default_values = ["64", "128", "256", "512", "1024", "1518", imix::NAME, "9000"],
        value_parser = frame
    )]
    frame: Vec<u16>,
    /// Turns that each has, fewer where they take long; a row is the median of them
    #[arg(long, default_value_t = 41, value_parser = clap::value_parser!(u16).range(1..))]
    turns: u16,
    /// Packets in a turn, fewer of long frames
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    packets: u32,
    /// The window image; without it, no rows of sluice-window
    #[arg(long)]
    window: Option<PathBuf>,
    /// The library made of rte_vhost/rte_vhost.c; without it, no rows of rte_vhost
    #[arg(long)]
    rte_vhost: Option<PathBuf>,
}

/// What else can be measured.
#[derive(clap::Subcommand)]
enum What {
    /// Measures what a packet costs in the flow cache
    Switch(switch::Options),
    /// Measures what a hop of a service chain costs
    Chain(turns::Options),
    /// Measures what a packet costs through a channel
    Channel(turns::Options),
    /// Measures what a hop between two VMs costs
    Vms(vms::Options),
}

fn frame(text: &str) -> Result<u16, String> {
    let frame = if text == imix::NAME { Some(IMIX) } else { text.parse().ok().filter(|&frame| frame != IMIX) };
    frame.filter(|frame| FRAMES.contains(frame)).ok_or_else(|| format!("one of {FRAMES:?}, or {} for 0", imix::NAME))
}

impl Options {
    /// Whether the work of `side` is measured.
    fn measures(&self, side: Side) -> bool {
        if self.side.is_empty() { self.r#impl.is_empty() || side == Side::Device } else { self.side.contains(&side) }
    }

    /// Whether `who` is to be measured and can be.
    fn wants(&self, who: Impl) -> bool {
        let there = match who {
            Impl::SluiceWindow => self.window.is_some() && is_x86_feature_detected!("avx"),
            Impl::RteVhost => self.rte_vhost.is_some(),
            _ => true,
        };
        there && (self.r#impl.is_empty() || self.r#impl.contains(&who))
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    // Before anybody's library chooses one.
    let processors = clock::processors();
    if let Some(what) = &options.what {
        clock::pin(processors[0])?;
        return match what {
            What::Switch(options) => switch::run(options, &processors, print),
            What::Chain(options) => chain::run(options, print),
            What::Channel(options) => channel::run(options, print),
            What::Vms(options) => vms::run(options, &processors, print),
        };
    }
    if processors.len() < 2 && options.cores.contains(&2) {
        eprintln!("There is one processor here: no rows of two.");
    }
    if options.window.is_some() && !is_x86_feature_detected!("avx") {
        eprintln!("This processor has no AVX, which the window code takes for granted: no rows of sluice-window.");
    }
    let print = print::<Row>;
    if options.measures(Side::Device) {
        by_buffers(&options, |buffer_len, longest, frames| {
            let mut world = World::new(&options, buffer_len, longest)?;
            frames.iter().try_for_each(|&frame| series::run(&options, &processors, &mut world, frame, print))
        })?;
    }
    if options.measures(Side::Driver) && options.cores.contains(&1) {
        clock::pin(processors[0])?;
        by_buffers(&options, |buffer_len, longest, frames| {
            let mut world = receive::World::new(&options, buffer_len, longest)?;
            frames.iter().try_for_each(|&frame| receive::run(&options, &mut world, frame, print))
        })?;
    }
    Ok(())
}

/// Prints a row as a line of JSON.
fn print<T: serde::Serialize>(row: &T) -> Result<()> {
    println!("{}", serde_json::to_string(row)?);
    Ok(())
}

/// Calls `work` with a length of buffers, the longest frame, and the frames that are asked for and go into such
/// buffers.
fn by_buffers(options: &Options, mut work: impl FnMut(u32, u16, &[u16]) -> Result<()>) -> Result<()> {
    let (short, long): (Vec<u16>, Vec<u16>) = options.frame.iter().partition(|&&frame| frame <= SHORT);
    for (frames, buffer_len) in [(short, BUFFER), (long, LARGE_BUFFER)] {
        if let Some(&longest) = frames.iter().max() {
            // The same bound for every short frame, whichever are asked for.
            work(buffer_len, longest.max(SHORT), &frames)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
