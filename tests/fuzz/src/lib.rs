//! The targets in fuzz/, built by cargo-fuzz without a sanitizer, which the stable compiler does not have, and run.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The names of the targets.
pub const TARGETS: [&str; 11] = [
    "device_split",
    "device_packed",
    "driver_split",
    "driver_packed",
    "flow_key",
    "flow_table",
    "nsh",
    "chain_file",
    "channel",
    "ovs_flow",
    "vhost_messages",
];
/// The targets that run the code with the planted bug.
pub const AFFECTED: [&str; 2] = ["device_split", "device_packed"];
/// The platform that cargo-fuzz builds for.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
/// Bytes of an input, at most.
const LONGEST: &str = "-max_len=2048";
const PLANTED: &str = "--cfg=sluice_planted_bug";

/// The result of one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The target's name.
    pub target: String,
    /// The time that the target was to run.
    pub seconds: u32,
    /// The number of inputs that were run.
    pub executions: u64,
    /// Edges of the compiled code that some input took.
    pub coverage: u64,
    /// Inputs that broke something: 0 or 1, as the first one ends the run.
    pub findings: u32,
}

/// The folder of the targets, and how they are built.
pub struct Fuzzer {
    /// The folder fuzz/ of the checkout.
    pub folder: PathBuf,
    /// The folder in which cargo's target folders lie, one of the targets and one of those with the planted bug.
    pub built: PathBuf,
    /// The program `cargo`.
    pub cargo: OsString,
}

impl Fuzzer {
    fn target_dir(&self, planted: bool) -> PathBuf {
        self.built.join(if planted { "fuzz-planted" } else { "fuzz" })
    }

    fn program(&self, target: &str, planted: bool) -> PathBuf {
        self.target_dir(planted).join(PLATFORM).join("release").join(target)
    }

    /// Returns `cargo fuzz VERB`, which builds with one bound check missing if `planted`.
    fn cargo_fuzz(&self, verb: &str, planted: bool) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(["fuzz", verb, "--sanitizer", "none", "--fuzz-dir"]).arg(&self.folder);
        command.arg("--target-dir").arg(self.target_dir(planted)).env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.env("RUSTFLAGS", if planted { PLANTED } else { "" }).stdin(Stdio::null());
        command
    }

    /// Builds all targets; with one bound check missing, if `planted`, those that it affects.
    ///
    /// # Errors
    /// The targets do not build (they need a C++ compiler, too), or fuzz/Cargo.lock is not what they need.
    pub fn build(&self, planted: bool) -> Result<()> {
        let mut fetch = Command::new(&self.cargo);
        fetch.args(["fetch", "--quiet", "--locked", "--manifest-path"]).arg(self.folder.join("Cargo.toml"));
        ensure!(fetch.status()?.success(), "fuzz/Cargo.lock is not up to date, or its packages can't be had");
        let builds: Vec<&[&str]> = if planted { AFFECTED.chunks(1).collect() } else { vec![&[]] };
        for targets in builds {
            let output = self.cargo_fuzz("build", planted).args(targets).output()?;
            ensure!(output.status.success(), "{}\nfuzz targets do not build", tail(&output));
        }
        Ok(())
    }

    /// Runs one target on its corpus for `seconds`. A finding is kept in fuzz/artifacts, unless the bug was `planted`.
    ///
    /// # Errors
    /// The target can't be started.
    pub fn fuzz(&self, target: &str, seconds: u32, planted: bool) -> Result<Row> {
        let fresh = tempfile::tempdir()?;
        let found = if planted { fresh.path().join("found") } else { self.folder.join("artifacts").join(target) };
        let grown = env::var_os("SLUICE_FUZZ_KEEP").map(|folder| Path::new(&folder).join(target));
        let grown = grown.unwrap_or_else(|| fresh.path().join("grown"));
        let corpus = self.folder.join("corpus").join(target);
        for folder in [&found, &grown, &corpus] {
            fs::create_dir_all(folder)?;
        }
        let mut command = Command::new(self.program(target, planted));
        command.arg(grown).arg(corpus);
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", found.display()));
        command.args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=1024", LONGEST]);
        let output = sluice_guard::tie(command.stdin(Stdio::null())).output().with_context(|| target.to_owned())?;
        let row = Row::of(target, seconds, &output);
        if row.findings > 0 && !planted {
            eprintln!("{}", tail(&output));
        }
        Ok(row)
    }

    /// Adds the inputs in `from` to the corpus, and leaves of all only those that cover something of their own.
    ///
    /// # Errors
    /// The target fails, or a file can't be written.
    pub fn merge(&self, target: &str, from: &Path) -> Result<()> {
        let corpus = self.folder.join("corpus").join(target);
        for entry in fs::read_dir(from.join(target)).with_context(|| from.join(target).display().to_string())? {
            let entry = entry?;
            fs::copy(entry.path(), corpus.join(entry.file_name()))?;
        }
        let output = self.cargo_fuzz("cmin", false).arg(target).arg(&corpus).args(["--", LONGEST]).output()?;
        ensure!(output.status.success(), "{}\n{target}: merging failed", tail(&output));
        Ok(())
    }
}

fn tail(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#') || !line.contains("cov:")).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
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

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, seconds, executions, coverage, findings } = self;
        write!(f, "{target}: {executions} executions in {seconds} s, {coverage} edges, {findings} findings")
    }
}
