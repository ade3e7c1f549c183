//! `cargo xtask bench channel`: measures packets through a channel, beside DPDK's rte_ring.

use crate::rings;
use anyhow::Result;
use sluice_report::caption;
use sluice_report::channel::{ChannelRow, table};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Seconds for each length, and at most four times as long if few chunks are quiet; 0: one chunk of each, quiet or
    /// not [default: 5]
    #[arg(long)]
    seconds: Option<String>,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let args = rings::given(&[("--seconds", &options.seconds)]);
    let command = rings::ring_bench(Some("channel"), &args, "rte_ring")?;
    if let Some(rows) = rings::measure(command, options.json, |row: &ChannelRow| row.r#impl.clone())? {
        println!("{}\n{}", table(&rows), caption::channel());
    }
    Ok(())
}
