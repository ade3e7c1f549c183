//! `cargo xtask miri`: the unit tests of everything that touches shared memory, interpreted, so that undefined
//! behaviour is seen; and both sides of a queue in two threads, in many schedules, so that a write that another thread
//! can see too early is seen.

use crate::artifacts;
use crate::progress::step;
use anyhow::{Result, bail};
use std::process::{Command, Stdio};

/// Packages whose unit tests run under Miri.
const PACKAGES: [&str; 5] = ["sluice-abi", "sluice-memory", "sluice-inside", "sluice-driver", "sluice-channel"];

/// The number of schedules of two threads. Each shows a missing order; more of them show rarer faults, too.
const SCHEDULES: u32 = 4;
/// Memory of the tests is never freed.
const FLAGS: &str = "-Zmiri-ignore-leaks -Zmiri-disable-isolation";

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
    let filter = options.filter.as_deref();
    for mut command in units(filter).chain([schedules(filter)]) {
        if !step("tests under Miri", || command.status())?.success() {
            bail!("Miri found something");
        }
    }
    Ok(())
}

/// The commands that run the unit tests of a package each, or those whose names contain `filter`. All tests of a
/// package run in one process, since Miri takes two seconds to begin one.
pub fn units(filter: Option<&str>) -> impl Iterator<Item = Command> {
    PACKAGES.into_iter().map(move |package| {
        let mut command = interpreted(&["test"], FLAGS.into());
        command.args(["--lib", "--package", package, "--"]).args(filter);
        command
    })
}

/// The command that runs both sides of a queue in two threads, each test or those whose names contain `filter`, in many
/// schedules.
pub fn schedules(filter: Option<&str>) -> Command {
    let mut command = interpreted(&["test"], format!("{FLAGS} -Zmiri-many-seeds=0..{SCHEDULES}"));
    command.args(["--package", "sluice-driver", "--test", "orders", "--"]).args(filter);
    command
}

/// The cargo command `verb` under Miri.
fn interpreted(verb: &[&str], flags: String) -> Command {
    let mut command = Command::new("cargo");
    // The toolchain that cargo was started with would go before the one that is named.
    command.current_dir(artifacts::root()).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command.args(["+nightly", "miri"]).args(verb).arg("--locked");
    command.arg("--target-dir").arg(artifacts::results().join("miri"));
    // A backtrace would be interpreted, too.
    command.env("MIRIFLAGS", flags).env("RUST_BACKTRACE", "0");
    command
}

/// Installs a nightly toolchain with Miri if it is missing. The error says in one line why there is none.
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
