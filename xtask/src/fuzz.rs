//! `cargo xtask fuzz`: builds the fuzz targets, runs them, and prints a line for each.

use crate::progress::step;
use crate::{artifacts, tools};
use anyhow::{Context, Error, Result, bail};
use sluice_fuzzer::{AFFECTED, Fuzzer, TARGETS};
use std::path::PathBuf;

/// What to fuzz.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Targets, by name [default: all]
    target: Vec<String>,
    /// How long each one runs
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
    /// Compile one bound check out, and fail unless each target that meets it finds that
    #[arg(long)]
    planted: bool,
    /// Instead, add inputs to the corpus and minimize it; this folder has a folder of them for each target
    #[arg(long)]
    merge: Option<PathBuf>,
}

/// Fuzzes and prints.
pub fn run(options: &Options) -> Result<()> {
    let defaults = if options.planted { &AFFECTED[..] } else { &TARGETS[..] };
    let targets = match options.target.as_slice() {
        [] => defaults.to_vec(),
        named => named.iter().map(|name| known(name)).collect::<Result<_>>()?,
    };
    tools::fuzzer().map_err(Error::msg)?;
    let fuzzer = fuzzer();
    let what = if options.planted { "building fuzz targets with a planted bug" } else { "building fuzz targets" };
    step(what, || fuzzer.build(options.planted))?;
    if let Some(from) = &options.merge {
        return targets.iter().try_for_each(|target| step(&format!("merging {target}"), || fuzzer.merge(target, from)));
    }
    let mut rows = Vec::new();
    for target in targets {
        rows.push(step(&format!("fuzzing {target}"), || fuzzer.fuzz(target, options.seconds, options.planted))?);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        rows.iter().for_each(|row| println!("{row}"));
    }
    let wanted = u32::from(options.planted);
    if let Some(row) = rows.iter().find(|row| row.findings != wanted) {
        bail!("{}: {} findings, {wanted} expected", row.target, row.findings);
    }
    Ok(())
}

fn known(name: &str) -> Result<&'static str> {
    let found = TARGETS.into_iter().find(|target| *target == name);
    found.with_context(|| format!("no target {name}; there are {}", TARGETS.join(", ")))
}

/// Returns the fuzz targets of this checkout.
pub fn fuzzer() -> Fuzzer {
    Fuzzer { folder: artifacts::root().join("fuzz"), built: artifacts::results(), cargo: artifacts::program() }
}
