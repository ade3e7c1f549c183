//! What cargo builds: images for VMs and the monitor, programs for the embedded default.

use crate::progress::step;
use crate::tools::TARGET;
use anyhow::{Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages whose programs run in a VM or on the bare machine.
const BARE: [&str; 7] = ["sluice-monitor", "sluice-inside", "microbench", "forward", "pcap", "latency", "attack"];
/// Packages whose programs run as processes.
const HOSTED: [&str; 5] = ["sluice-launcher", "microbench", "forward", "pcap", "latency"];

/// The project's folder.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where results of commands go.
pub fn results() -> PathBuf {
    target_dir().join("sluice")
}

fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where the programs for the bare machine are, once built.
pub fn bare() -> PathBuf {
    target_dir().join(TARGET).join("release")
}

/// Where the programs for processes are, once built.
pub fn hosted() -> PathBuf {
    target_dir().join("release")
}

/// Builds the programs for the bare machine.
pub fn build_bare() -> Result<()> {
    step("building monitor, window and VM images", || cargo(&BARE, &["--target", TARGET]))
}

/// Builds the programs for processes.
pub fn build_hosted() -> Result<()> {
    step("building launcher and examples", || cargo(&HOSTED, &[]))
}

/// Builds the ring benchmark.
pub fn build_ring_bench() -> Result<()> {
    step("building the ring benchmark", || cargo(&["ring-bench"], &[]))
}

/// Builds the window image alone: where it is.
pub fn build_window() -> Result<PathBuf> {
    step("building the window", || cargo(&["sluice-inside"], &["--target", TARGET]))?;
    Ok(bare().join("window"))
}

/// Builds monitor and window image: where they are.
pub fn build_host() -> Result<(PathBuf, PathBuf)> {
    step("building monitor and window", || cargo(&["sluice-monitor", "sluice-inside"], &["--target", TARGET]))?;
    Ok((bare().join("sluice-monitor"), bare().join("window")))
}

/// Makes `command`, a cargo command, build the programs for the bare machine.
pub fn bare_arguments(command: &mut Command) {
    arguments(command, &BARE, &["--target", TARGET]);
}

fn arguments(command: &mut Command, packages: &[&str], options: &[&str]) {
    command.args(["build", "--quiet", "--release", "--locked", "--bins"]).args(options);
    for package in packages {
        command.args(["--package", package]);
    }
}

fn cargo(packages: &[&str], options: &[&str]) -> Result<()> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    arguments(command.current_dir(root()), packages, options);
    if !command.status()?.success() {
        bail!("cargo build failed for {}", packages.join(", "));
    }
    Ok(())
}
