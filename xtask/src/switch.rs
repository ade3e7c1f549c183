//! `cargo xtask bench switch`: measures the flow cache, beside DPDK's `rte_hash`.

use crate::{artifacts, rings};
use anyhow::Result;
use sluice_report::switch::{SwitchRow, table};
use sluice_report::{cpu, plot};
use std::fs;
use std::process::Command;

/// What to measure.
#[derive(clap::Args, Clone, Debug, Default)]
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
    command.arg("switch").args(options.given());
    match library {
        Ok(file) => drop(command.arg("--rte-vhost").arg(file)),
        Err(why) => eprintln!("No rows of rte_hash: {why:#}"),
    }
    let rows = rings::measure(command, |row: &SwitchRow| format!("{} flows, {}", row.flows, row.line()))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!("{}", table(&rows));
    println!(
        "Ticks of the time-stamp counter a packet, medians of the quiet chunks, on this machine ({}), one core, \
         bursts of 32. To rte_hash: the median of the ratios chunk by chunk to its look-up of keys of 16 bytes in \
         pages of 4 KiB.",
        cpu()
    );
    fs::create_dir_all(artifacts::results())?;
    let picture = artifacts::results().join("switch.svg");
    plot::switch(&picture, &rows)?;
    println!("Plot: {}", picture.display());
    Ok(())
}

impl Options {
    /// Returns the options that were given, for ring-bench.
    fn given(&self) -> Vec<String> {
        let all = [("--flows", &self.flows), ("--seconds", &self.seconds)];
        all.iter().filter_map(|(option, value)| Some(format!("{option}={}", value.as_ref()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_is_passed_on() {
        let none = Options { json: true, ..Options::default() };
        assert_eq!(none.given(), [""; 0]);
        assert_eq!(Options { flows: Some("10,1000".into()), ..none }.given(), ["--flows=10,1000"]);
    }
}
