//! `cargo xtask bench switch`: measures the flow cache, beside DPDK's `rte_hash` and Open vSwitch.

use crate::rings::{self, Turns};
use crate::{artifacts, tools};
use anyhow::Result;
use sluice_report::switch::{SwitchRow, table};
use sluice_report::{caption, plot};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Numbers of flows, 1 to 4194304, with commas [default: 10,1000,64000,1000000]
    #[arg(long)]
    flows: Option<String>,
    #[command(flatten)]
    turns: Turns,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let args = rings::given(&[("--flows", &options.flows), options.turns.given()]);
    let mut command = rings::ring_bench(Some("switch"), &args, "rte_hash, the C program around it and Open vSwitch")?;
    match tools::openvswitch_dpdk() {
        Ok(()) => drop(command.arg("--ovs")),
        Err(why) => eprintln!("No rows of Open vSwitch: {why}"),
    }
    let last = |row: &SwitchRow| format!("{} flows, {}", row.flows, row.line());
    let Some(rows) = rings::measure(command, options.turns.json, last)? else { return Ok(()) };
    println!("{}\n{}", table(&rows), caption::switch());
    artifacts::picture("switch.svg", |path| plot::switch(path, &rows))
}
