//! `cargo xtask bench chain`: measures hops of a service chain, beside links by DPDK's memif and vhost, and in VMs.

use crate::rings::{self, Turns};
use crate::{Host, Scenario, artifacts, tools};
use anyhow::Result;
use sluice_report::caption;
use sluice_report::chain::{ChainRow, table};

/// Measures and prints.
pub fn run(options: &Turns) -> Result<()> {
    let args = rings::given(&[options.given()]);
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
