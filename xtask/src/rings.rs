//! `cargo xtask bench rings`: measures an enqueue and receiving, with this project's code and others'.

use crate::progress::Slow;
use crate::{artifacts, tools};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_report::{RingRow, caption, plot, table};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What to measure.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Whose work, with commas: device (an enqueue), driver (taking frames, giving new buffers, freeing the frames; on
    /// one processor) [default: both, or device with --impl]
    #[arg(long)]
    side: Option<String>,
    /// Whose device side, with commas: sluice-window, sluice-native, sluice-shared, rte_vhost, virtio-queue, copy
    /// [default: all]
    #[arg(long = "impl")]
    who: Option<String>,
    /// Ring formats, with commas: split, in-order, packed [default: all]
    #[arg(long)]
    ring: Option<String>,
    /// Processors, with commas: 1, 2 [default: both]
    #[arg(long)]
    cores: Option<String>,
    /// Packets in a call, 1 to 256, with commas [default: 1,8,32,64,256]
    #[arg(long)]
    burst: Option<String>,
    /// Frame sizes, with commas [default: 64,128,256,512,1024,1518,imix,9000]
    #[arg(long)]
    frame: Option<String>,
    /// Turns that each has, fewer where they take long; a row is the median of them [default: 41]
    #[arg(long)]
    turns: Option<String>,
    /// Packets in a turn, fewer of long frames [default: 2048]
    #[arg(long)]
    packets: Option<String>,
    /// Print rows as one JSON array
    #[arg(long)]
    json: bool,
}

/// How long what is compared by turns takes them, and how it is printed.
#[derive(clap::Args, Clone, Debug)]
pub struct Turns {
    /// Seconds for each length and number of flows, and at most four times as long if few chunks are quiet; 0: one
    /// chunk of each, quiet or not [default: 5]
    #[arg(long)]
    seconds: Option<String>,
    /// Print rows as one JSON array
    #[arg(long)]
    pub json: bool,
}

impl Turns {
    /// Returns the option of ring-bench, for [`given`].
    pub const fn given(&self) -> (&'static str, &Option<String>) {
        ("--seconds", &self.seconds)
    }
}

/// Measures and prints.
pub fn run(options: &Options) -> Result<()> {
    let window = tools::bare_target().map_err(anyhow::Error::msg).and_then(|()| artifacts::build_window());
    let mut command = ring_bench(None, &options.given(), "rte_vhost and dpdk-virtio")?;
    add(&mut command, "--window", window, "sluice-window");
    let last = |row: &RingRow| format!("{} B, burst {}, cores {}", row.frame, row.burst, row.cores);
    let Some(rows) = measure(command, options.json, last)? else { return Ok(()) };
    let (device, driver): (Vec<_>, Vec<_>) = rows.iter().cloned().partition(|row| row.side == "device");
    for (what, rows) in [("Enqueue", &device), ("Receive: take frames, give new buffers, free the frames", &driver)] {
        if !rows.is_empty() {
            println!("{what}\n{}", table::of_rings(rows));
        }
    }
    println!("{}", caption::rings());
    artifacts::picture("rings.svg", |path| plot::rings(path, &rows))
}

/// Builds the benchmark, and returns it for a `part` with `args`, and with DPDK's library: without that there are no
/// rows of `theirs`.
pub fn ring_bench(part: Option<&str>, args: &[String], theirs: &str) -> Result<Command> {
    let library = library();
    artifacts::build_ring_bench()?;
    let mut command = Command::new(artifacts::hosted().join("ring-bench"));
    add(command.args(part).args(args), "--rte-vhost", library, theirs);
    Ok(command)
}

/// Adds `option` with a file, or says that there are no rows of `whom`, and why.
fn add(command: &mut Command, option: &str, file: Result<PathBuf>, whom: &str) {
    match file {
        Ok(file) => drop(command.arg(option).arg(file)),
        Err(why) => eprintln!("No rows of {whom}: {why:#}"),
    }
}

/// Builds DPDK's libraries with our few functions around them: one library, of which all benchmarks have a part.
pub fn library() -> Result<PathBuf> {
    tools::dpdk().map_err(anyhow::Error::msg)?;
    fs::create_dir_all(artifacts::results())?;
    let library = artifacts::results().join("libdpdk_bench.so");
    let sources = ["rte_vhost.c", "flows.c", "feeder.c", "rings.c"]
        .map(|file| artifacts::root().join("bench/rte_vhost").join(file));
    tools::compile_with_dpdk(&sources, &library)?;
    Ok(library)
}

impl Options {
    fn given(&self) -> Vec<String> {
        given(&[
            ("--side", &self.side),
            ("--impl", &self.who),
            ("--ring", &self.ring),
            ("--cores", &self.cores),
            ("--burst", &self.burst),
            ("--frame", &self.frame),
            ("--turns", &self.turns),
            ("--packets", &self.packets),
        ])
    }
}

/// Returns those of `options` that have a value, for ring-bench.
pub fn given(options: &[(&str, &Option<String>)]) -> Vec<String> {
    options.iter().filter_map(|(option, value)| Some(format!("{option}={}", value.as_ref()?))).collect()
}

/// Returns the rows of `command`, ring-bench, unless they are printed as one JSON array; and says now and then how far
/// it is: `last` names a row.
pub fn measure<R>(mut command: Command, json: bool, last: impl Fn(&R) -> String) -> Result<Option<Vec<R>>>
where
    R: DeserializeOwned + Serialize,
{
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = sluice_guard::tie(&mut command).spawn().context("ring-bench")?;
    let lines = child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines());
    let mut progress = Slow::new();
    let mut rows = Vec::new();
    for line in lines {
        let line = line?;
        let row = serde_json::from_str(&line).with_context(|| format!("ring-bench printed: {line}"))?;
        progress.tell(|| format!("{} rows; {}", rows.len(), last(&row)));
        rows.push(row);
    }
    if !child.wait()?.success() {
        bail!("ring-bench failed");
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok((!json).then_some(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_is_passed_on() {
        let none = Options { json: true, ..Options::default() };
        assert_eq!(none.given(), [""; 0]);
        let some = Options { who: Some("copy".into()), burst: Some("1,32".into()), ..none };
        assert_eq!(some.given(), ["--impl=copy", "--burst=1,32"]);
    }
}
