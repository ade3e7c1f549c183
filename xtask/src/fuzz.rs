//! `cargo xtask fuzz`: the targets in fuzz/, built as cargo-fuzz builds them without a sanitizer, but by the stable compiler.

use crate::artifacts;
use crate::progress::step;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The targets.
pub const TARGETS: [&str; 4] = ["device_split", "device_packed", "driver_split", "driver_packed"];
/// Those that run the code with the planted bug.
pub const AFFECTED: [&str; 2] = ["device_split", "device_packed"];
/// Given to the compiler, so that build scripts and macros are not instrumented.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
/// Coverage as libFuzzer reads it.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
];
const PLANTED: &str = "--cfg=sluice_planted_bug";

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
    /// Instead, merge inputs that the corpus lacks into it, from this folder with one folder for each target
    #[arg(long)]
    merge: Option<PathBuf>,
}

/// What came of one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub target: String,
    /// How long it was to run.
    pub seconds: u32,
    /// Inputs that were run.
    pub executions: u64,
    /// Edges of the compiled code that some input took.
    pub coverage: u64,
    /// Inputs that broke something: 0 or 1, as the first one ends the run.
    pub findings: u32,
}

/// Fuzzes and prints.
pub fn run(options: &Options) -> Result<()> {
    let defaults = if options.planted { &AFFECTED[..] } else { &TARGETS[..] };
    let targets = match options.target.as_slice() {
        [] => defaults.to_vec(),
        named => named.iter().map(|name| known(name)).collect::<Result<_>>()?,
    };
    build(options.planted)?;
    if let Some(from) = &options.merge {
        return targets.iter().try_for_each(|target| merge(target, from));
    }
    let mut rows = Vec::new();
    for target in targets {
        rows.push(step(&format!("fuzzing {target}"), || fuzz(target, options.seconds, options.planted))?);
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

fn folder() -> PathBuf {
    artifacts::root().join("fuzz")
}

fn target_dir(planted: bool) -> PathBuf {
    artifacts::results().join(if planted { "fuzz-planted" } else { "fuzz" })
}

/// Builds all targets, with one bound check missing if `planted`.
pub fn build(planted: bool) -> Result<()> {
    let flags = FLAGS.iter().copied().chain(planted.then_some(PLANTED)).collect::<Vec<_>>().join("\x1f");
    let mut command = Command::new(artifacts::program());
    command.current_dir(folder()).args(["build", "--quiet", "--release", "--locked", "--bins", "--target", PLATFORM]);
    command.arg("--target-dir").arg(target_dir(planted));
    command.env("CARGO_ENCODED_RUSTFLAGS", flags).env_remove("RUSTFLAGS");
    let what = if planted { "building fuzz targets with a planted bug" } else { "building fuzz targets" };
    if !step(what, || command.status())?.success() {
        bail!("fuzz targets do not build (they need a C++ compiler, too)");
    }
    Ok(())
}

fn program(target: &str, planted: bool) -> PathBuf {
    target_dir(planted).join(PLATFORM).join("release").join(target)
}

/// Runs one target on its corpus for `seconds`. What it finds is kept in fuzz/artifacts, unless it was `planted`.
pub fn fuzz(target: &str, seconds: u32, planted: bool) -> Result<Row> {
    let fresh = tempfile::tempdir()?;
    let found = if planted { fresh.path().join("found") } else { folder().join("artifacts").join(target) };
    fs::create_dir_all(&found)?;
    let grown = env::var_os("SLUICE_FUZZ_KEEP").map(|folder| Path::new(&folder).join(target));
    let grown = grown.unwrap_or_else(|| fresh.path().join("grown"));
    let corpus = folder().join("corpus").join(target);
    fs::create_dir_all(&grown)?;
    fs::create_dir_all(&corpus)?;
    let mut command = Command::new(program(target, planted));
    command.arg(grown).arg(corpus);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", found.display()));
    command.args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=1024", "-max_len=2048"]);
    let output = sluice_guard::tie(command.stdin(Stdio::null())).output().with_context(|| target.to_owned())?;
    let row = Row::of(target, seconds, &output);
    if row.findings > 0 && !planted {
        eprintln!("{}", tail(&output));
    }
    Ok(row)
}

fn tail(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#') || !line.contains("cov:")).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Adds to the corpus what covers something new, and leaves out what does not.
fn merge(target: &str, from: &Path) -> Result<()> {
    let corpus = folder().join("corpus").join(target);
    let merged = tempfile::tempdir()?;
    let mut command = Command::new(program(target, false));
    command.args(["-merge=1", "-max_len=2048"]).args([merged.path(), &corpus, &from.join(target)]);
    fs::create_dir_all(&corpus)?;
    if !command.stdin(Stdio::null()).stderr(Stdio::null()).status()?.success() {
        bail!("{target}: merging failed");
    }
    fs::remove_dir_all(&corpus)?;
    fs::create_dir_all(&corpus)?;
    for entry in fs::read_dir(merged.path())? {
        let entry = entry?;
        fs::copy(entry.path(), corpus.join(entry.file_name()))?;
    }
    Ok(())
}

impl Row {
    fn of(target: &str, seconds: u32, output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stderr);
        let number = |word: &str| word.parse::<u64>().unwrap_or(0);
        let last = |key: &str| {
            let words: Vec<_> = text.split_whitespace().collect();
            words.windows(2).rev().find(|pair| pair[0] == key).map_or(0, |pair| number(pair[1]))
        };
        Self {
            target: target.into(),
            seconds,
            executions: last("stat::number_of_executed_units:"),
            coverage: last("cov:"),
            findings: u32::from(!output.status.success()),
        }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, seconds, executions, coverage, findings } = self;
        write!(f, "{target}: {executions} executions in {seconds} s, {coverage} edges, {findings} findings")
    }
}
