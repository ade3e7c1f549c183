//! `cargo xtask check`: what can be said of the sources without running them.

use crate::{artifacts, tools};
use anyhow::{Error, Result, bail};
use sluice_guard::bounded;
use std::process::Command;
use std::time::{Duration, Instant};

/// Time that a part may take: the first run on a machine builds all dependencies.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Time that the list of advisories may take to arrive.
const FETCH: Duration = Duration::from_secs(60);

/// A part of the check, and what it looks at. `Ok` carries a remark on what was left out.
pub type Part = (&'static str, fn() -> Result<Option<String>>);

/// All parts, in the order in which they run.
pub const PARTS: [Part; 5] = [
    ("formatting", formatting),
    ("lints", lints),
    ("dependencies", dependencies),
    ("documentation", documentation),
    ("house rules", house),
];

/// Runs all parts, and prints a line for each.
pub fn run() -> Result<()> {
    let mut red = Vec::new();
    for (name, part) in PARTS {
        let start = Instant::now();
        let outcome = part();
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(None) => println!("{name}: clean, {seconds:.1} s"),
            Ok(Some(remark)) => println!("{name}: clean, {seconds:.1} s; {remark}"),
            Err(why) => {
                eprintln!("{why:#}");
                println!("{name}: RED, {seconds:.1} s");
                red.push(name);
            }
        }
    }
    if red.is_empty() { Ok(()) } else { bail!("{} of {} parts are red: {}", red.len(), PARTS.len(), red.join(", ")) }
}

/// Looks at the layout of all sources, those of the fuzz targets too.
pub fn formatting() -> Result<Option<String>> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["fmt", "--all", "--check", "--manifest-path", "fuzz/Cargo.toml"])
}

/// Asks clippy about all targets, and about the programs for the bare machine as they are built for it.
pub fn lints() -> Result<Option<String>> {
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-Dwarnings"])?;
    if let Err(why) = tools::bare_target() {
        return Ok(Some(format!("not for the bare machine: {why}")));
    }
    let mut command = Command::new(artifacts::program());
    command.args(["clippy", "--locked", "--bins", "--target", tools::TARGET]);
    artifacts::bare_packages(&mut command);
    silent(command.args(["--", "-Dwarnings"]))
}

/// Asks cargo-deny about licenses, sources and bans; about advisories where their list can be had.
pub fn dependencies() -> Result<Option<String>> {
    tools::deny().map_err(Error::msg)?;
    cargo(&["deny", "--locked", "check", "licenses", "bans", "sources"])?;
    let mut fetch = Command::new(artifacts::program());
    let fetched = bounded(fetch.current_dir(artifacts::root()).args(["deny", "--locked", "fetch", "db"]), FETCH)?;
    if !fetched.in_time || !fetched.status.success() {
        return Ok(Some("advisories were not looked at: their list can't be had here".into()));
    }
    cargo(&["deny", "--locked", "check", "--disable-fetch", "advisories"])
}

/// Writes the documentation of all packages, in which a warning is an error.
pub fn documentation() -> Result<Option<String>> {
    let mut command = Command::new(artifacts::program());
    silent(command.args(["doc", "--no-deps", "--workspace", "--locked"]).env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// Runs tests/house.
fn house() -> Result<Option<String>> {
    cargo(&["test", "--package", "sluice-tests", "--test", "house", "--locked"])
}

fn cargo(arguments: &[&str]) -> Result<Option<String>> {
    silent(Command::new(artifacts::program()).args(arguments))
}

/// Runs `command` in the checkout, and returns what it printed as an error if it fails.
fn silent(command: &mut Command) -> Result<Option<String>> {
    let ended = bounded(command.current_dir(artifacts::root()), PATIENCE)?;
    if ended.in_time && ended.status.success() {
        return Ok(None);
    }
    let text = [ended.errors, ended.output].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    bail!("{}\n{command:?} ended with {}", text.trim(), ended.status)
}
