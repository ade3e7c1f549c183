//! `cargo xtask miri`: the unit tests of everything that touches shared memory, interpreted, so that undefined behaviour is seen.

use crate::artifacts;
use crate::progress::step;
use anyhow::{Result, bail};
use std::process::{Command, Stdio};

/// Packages whose unit tests run under Miri.
const PACKAGES: [&str; 4] = ["sluice-abi", "sluice-memory", "sluice-inside", "sluice-driver"];

/// Which tests.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Runs them.
pub fn run(options: &Options) -> Result<()> {
    if let Err(why) = available() {
        bail!("Miri can't be had: {why}");
    }
    let mut command = command(options.filter.as_deref());
    if !step("unit tests under Miri", || command.status())?.success() {
        bail!("Miri found something");
    }
    Ok(())
}

/// The command that runs them, or those whose names contain `filter`.
pub fn command(filter: Option<&str>) -> Command {
    let mut command = Command::new("cargo");
    // The toolchain that cargo was started with would go before the one that is named.
    command.current_dir(artifacts::root()).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command.args(["+nightly", "miri", "test", "--locked", "--lib"]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    command.arg("--target-dir").arg(artifacts::results().join("miri"));
    // Memory of the tests is never freed.
    command.env("MIRIFLAGS", "-Zmiri-ignore-leaks -Zmiri-disable-isolation");
    command.arg("--").args(filter);
    command
}

/// Sees to a nightly toolchain with Miri. `Err`: why there is none, in one line.
pub fn available() -> Result<(), String> {
    let quiet = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env_remove("RUSTUP_TOOLCHAIN").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let there = || quiet("cargo", &["+nightly", "miri", "--version"]);
    let get = || {
        quiet("rustup", &["toolchain", "install", "nightly", "--profile", "minimal"])
            && quiet("rustup", &["component", "add", "miri", "rust-src", "--toolchain", "nightly"])
    };
    if there() || (step("installing Miri", get) && there()) {
        return Ok(());
    }
    Err("`rustup component add miri rust-src --toolchain nightly` does not work here".into())
}
