//! `cargo xtask bench chain`: measures hops of a service chain, beside links by DPDK's memif and vhost, and in VMs.

use crate::{Host, Scenario, artifacts, rings, tools};
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
    let mut rows = rings::measure(command, false, |row: &ChainRow| row.r#impl.clone())?.unwrap_or_default();
    match tools::emulator() {
        Ok(()) => {
            artifacts::build_bare_some(&["chainbench"])?;
            rows.push(ChainRow::of_vms(&Host::Bochs.run(&Scenario::example("hops")?)?)?);
        }
        Err(why) => eprintln!("No row of VMs: {why}"),
    }
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&rows)?),
        false => println!("{}\n{}", table(&rows), caption::chain()),
    }
    Ok(())
}
