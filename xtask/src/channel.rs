//! `cargo xtask bench channel`: measures packets through a channel, beside DPDK's rte_ring.

use crate::rings::{self, Turns};
use anyhow::Result;
use sluice_report::caption;
use sluice_report::channel::{ChannelRow, table};

/// Measures and prints.
pub fn run(options: &Turns) -> Result<()> {
    let args = rings::given(&[options.given()]);
    let command = rings::ring_bench(Some("channel"), &args, "rte_ring")?;
    if let Some(rows) = rings::measure(command, options.json, |row: &ChannelRow| row.r#impl.clone())? {
        println!("{}\n{}", table(&rows), caption::channel());
    }
    Ok(())
}
