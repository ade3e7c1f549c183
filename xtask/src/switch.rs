//! `cargo xtask bench switch`: measures the flow cache, beside DPDK's `rte_hash` and Open vSwitch.

use crate::{artifacts, rings, tools};
use anyhow::Result;
use sluice_report::switch::{SwitchRow, table};
use sluice_report::{cpu, plot};
use std::fs;
use std::process::Command;

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
    artifacts::build_ring_bench()?;
    let mut command = Command::new(artifacts::hosted().join("ring-bench"));
    command.arg("switch");
    command.args(rings::given(&[("--flows", &options.flows), ("--seconds", &options.seconds)]));
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
    println!("{}", table(&rows));
    println!(
        "Ticks of the time-stamp counter a packet, medians of the quiet chunks, on this machine ({}), one core, \
         bursts of 32. To rte_hash: its look-up of keys of 16 bytes in pages of 4 KiB. To c: a router around it, \
         without counting. To ovs and ovs-best: Open vSwitch by default, and its fastest setting, both without what \
         testpmd takes. To alone: the same without changes or strangers' headers. To bare: without epoch, lease, time \
         and report. Ratios are medians of those chunk by chunk; to Open vSwitch, which runs apart, those of medians.",
        cpu()
    );
    fs::create_dir_all(artifacts::results())?;
    let picture = artifacts::results().join("switch.svg");
    plot::switch(&picture, &rows)?;
    println!("Plot: {}", picture.display());
    Ok(())
}
