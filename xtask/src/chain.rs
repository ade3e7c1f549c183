//! `cargo xtask bench chain`: measures hops of a service chain, beside links by DPDK's memif and vhost.

use crate::rings;
use anyhow::Result;
use sluice_report::caption;
use sluice_report::chain::{ChainRow, table};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Seconds, and at most four times as long if few chunks are quiet; 0: one chunk of each, quiet or not [default: 5]
    #[arg(long)]
    seconds: Option<String>,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let args = rings::given(&[("--seconds", &options.seconds)]);
    let command = rings::ring_bench(Some("chain"), &args, "memif and vhost")?;
    let Some(rows) = rings::measure(command, options.json, |row: &ChainRow| row.r#impl.clone())? else { return Ok(()) };
    println!("{}\n{}", table(&rows), caption::chain());
    Ok(())
}
