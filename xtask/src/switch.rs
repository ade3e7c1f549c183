//! `cargo xtask bench switch`: measures the flow cache, beside DPDK's `rte_hash` and Open vSwitch.

use crate::{artifacts, rings, tools};
use anyhow::Result;
use sluice_report::switch::{SwitchRow, table};
use sluice_report::{caption, plot};
use std::fs;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Numbers of flows, 1 to 4194304, with commas [default: 10,1000,64000,1000000]
    #[arg(long)]
    flows: Option<String>,
    /// Seconds for each number of flows, and at most four times as long if few chunks are quiet; 0: one chunk of each,
    /// quiet or not [default: 5]
    #[arg(long)]
    seconds: Option<String>,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let library = rings::library();
    let mut command = rings::ring_bench()?;
    command.arg("switch").args(rings::given(&[("--flows", &options.flows), ("--seconds", &options.seconds)]));
    match library {
        Ok(file) => {
            command.arg("--rte-vhost").arg(file);
            match tools::open_vswitch() {
                Ok(()) => drop(command.arg("--ovs")),
                Err(why) => eprintln!("No rows of Open vSwitch: {why}"),
            }
        }
        Err(why) => eprintln!("No rows of rte_hash, of the C program around it and of Open vSwitch: {why:#}"),
    }
    let rows = rings::measure(command, |row: &SwitchRow| format!("{} flows, {}", row.flows, row.line()))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!("{}\n{}", table(&rows), caption::switch());
    fs::create_dir_all(artifacts::results())?;
    let picture = artifacts::results().join("switch.svg");
    plot::switch(&picture, &rows)?;
    println!("Plot: {}", picture.display());
    Ok(())
}
