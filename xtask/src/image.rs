//! `cargo xtask image`: a boot image for a real machine. See: docs/real-hardware.md.

use crate::progress::step;
use crate::{Scenario, artifacts, iso, tools};
use anyhow::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Where to put it.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The file to write [default: sluice/sluice.iso in cargo's target folder]
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Writes an image that boots by legacy BIOS and by UEFI, from a USB stick or a CD.
pub fn run(options: &Options) -> Result<()> {
    tools::uefi().map_err(Error::msg)?;
    artifacts::build_bare()?;
    let target = options.output.clone().unwrap_or_else(|| artifacts::results().join("sluice.iso"));
    fs::create_dir_all(artifacts::results())?;
    step("boot image", || write(&target))?;
    println!("{}: write it to a USB stick, boot it, read the serial port: docs/real-hardware.md", target.display());
    Ok(())
}

/// Writes the image to `target`.
pub fn write(target: &Path) -> Result<()> {
    let bench = Scenario::example("microbench")?.args("a", "send packets=200000")?;
    let proof = Scenario::example("proof")?;
    let (isolated, hypercall) = (bench.clone().gate("isolated")?, bench.clone().gate("hypercall")?);
    let (guarded, direct) = (bench.clone().gate("guarded")?, bench.gate("direct")?);
    let entries = [
        ("microbench, gate isolated", &isolated),
        ("microbench, gate guarded", &guarded),
        ("microbench, gate direct", &direct),
        ("microbench, gate hypercall", &hypercall),
        ("1,000,000 packets on two processors, gate isolated", &proof),
    ];
    iso::write(target, &entries, 5, &[])
}
