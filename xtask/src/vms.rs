//! `cargo xtask bench vms`: measures hops between VMs of DPDK's testpmd, by windows and by switches.

use crate::rings::{given, measure};
use crate::{artifacts, tools};
use anyhow::{Error, Result};
use sluice_report::caption;
use sluice_report::vms::{VmsRow, table};
use std::process::Command;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Lengths of frames, 60 to 1514 bytes, without their check sequence, with commas [default: 64]
    #[arg(long)]
    frame: Option<String>,
    /// Seconds for each length, and at most four times as long if few windows of time count; 0: one window of each way,
    /// which counts anyhow [default: 60]
    #[arg(long)]
    seconds: Option<String>,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    tools::testpmd().map_err(Error::msg)?;
    artifacts::build_vms()?;
    let mut command = Command::new(artifacts::hosted().join("ring-bench"));
    command.arg("vms").args(given(&[("--frame", &options.frame), ("--seconds", &options.seconds)]));
    command.arg("--programs").arg(artifacts::hosted());
    let last = |row: &VmsRow| format!("{} B, {} {}", row.frame, row.r#impl, row.path);
    if let Some(rows) = measure(command, options.json, last)? {
        println!("{}\n{}", table(&rows), caption::vms());
    }
    Ok(())
}
