//! The outcome of a run: consoles by VM, or one JSON object.

use crate::{Counters, Report, is_piece};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The host of a run.
#[derive(Clone, Copy, Debug)]
pub struct RunHost {
    /// What the VMs run on, in words.
    pub name: &'static str,
    /// Tag of the host's own lines.
    pub tag: &'static str,
    /// The unit of its times, and how many of its ticks are one.
    pub time: (&'static str, u64),
    /// Whether a second of its VMs is one of a clock.
    pub has_clock: bool,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Whether host and VMs ended well; else why not.
    pub result: Result<(), String>,
    /// Whether the run was stopped because it took longer than it may.
    pub timed_out: bool,
    host: &'static str,
    seconds: f64,
    /// The host's own lines.
    host_lines: Vec<String>,
    vms: Vec<Vm>,
    files: BTreeMap<String, File>,
    report: Report,
    counters: Counters,
}

#[derive(Debug, Serialize)]
struct Vm {
    name: String,
    console: Vec<String>,
    /// Exits by reason; also `total` and `aborts`. Processes have none.
    exits: BTreeMap<String, u64>,
}

/// A file that a VM wrote.
#[derive(Debug, Serialize)]
struct File {
    bytes: usize,
    /// The path of the file; `None` without `--out`.
    path: Option<PathBuf>,
}

impl Outcome {
    /// Takes `report` apart, of a run of the VMs with names `vms` that had `timeout` seconds and took as long as
    /// `passed` says, and writes the files that VMs wrote to folder `out`. `counters` is what was read while it ran.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn new<'n>(
        host: RunHost,
        vms: impl Iterator<Item = &'n str>,
        (report, counters): (Report, Counters),
        passed: Duration,
        (timeout, out): (u64, Option<&Path>),
    ) -> Result<Self> {
        let vms = vms.map(|name| Vm {
            name: name.to_owned(),
            console: lines_of(&report, name, counted_by_vm),
            exits: report.exits.get(name).cloned().unwrap_or_default(),
        });
        let late = format!("the run did not end within {timeout} s");
        let result = report.verdict.clone().unwrap_or(Err(late));
        let timed_out = report.timed_out;
        let (seconds, host_lines, vms) =
            (passed.as_secs_f64(), lines_of(&report, host.tag, counted_by_host), vms.collect());
        let files = files(&report, out)?;
        Ok(Self { result, timed_out, host: host.name, seconds, host_lines, vms, files, report, counters })
    }

    /// Returns one JSON object. See: docs/interfaces.md.
    pub fn json(&self) -> serde_json::Value {
        let word = match &self.result {
            Ok(()) => "pass",
            Err(_) if self.timed_out => "timeout",
            Err(_) => "fail",
        };
        serde_json::json!({
            "result": word, "reason": self.result.as_ref().err(), "on": self.host, "seconds": self.seconds,
            "vms": self.vms, "host": self.host_lines, "rows": self.report.rows, "files": self.files,
            "counters": self.counters.json(),
        })
    }

    /// Draws the chains as an SVG file.
    ///
    /// # Errors
    /// The file can't be written, or there is no chain.
    pub fn draw(&self, path: &Path) -> Result<()> {
        self.counters.draw(path)
    }
}

impl fmt::Display for Outcome {
    /// Writes the consoles, one VM after the other, what was counted, and the verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "on {}", self.host)?;
        let consoles = self.vms.iter().map(|vm| (vm.name.as_str(), &vm.console));
        for (name, lines) in consoles.chain([("host", &self.host_lines)]) {
            writeln!(f, "\n── {name} ──")?;
            lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        if !self.counters.is_empty() {
            writeln!(f, "\n── counters ──\n{}", self.counters.tables(false))?;
        }
        writeln!(f)?;
        for (name, File { bytes, path }) in &self.files {
            let place =
                path.as_ref().map_or("kept nowhere: --out names a folder".into(), |path| path.display().to_string());
            writeln!(f, "file {name}: {bytes} bytes, {place}")?;
        }
        match &self.result {
            Ok(()) => write!(f, "pass, {:.1} s", self.seconds),
            Err(reason) => write!(f, "fail, {:.1} s: {reason}", self.seconds),
        }
    }
}

/// The lines with tag `tag`, without the tag and without pieces of files. Of counters that are printed again and again,
/// the last line is the one; `counted` says what a line has the counters of.
fn lines_of(report: &Report, tag: &str, counted: impl Fn(&str) -> Option<&str>) -> Vec<String> {
    let tag = format!("[{tag}] ");
    let lines = report.lines.iter().filter_map(|line| line.strip_prefix(&tag));
    let lines: Vec<_> = lines.filter(|line| !is_piece(line)).collect();
    let last: BTreeMap<_, _> = lines.iter().enumerate().filter_map(|(at, line)| Some((counted(line)?, at))).collect();
    let is_last = |at: usize, line: &str| counted(line).is_none_or(|counted| last.get(counted) == Some(&at));
    lines.iter().enumerate().filter(|(at, line)| is_last(*at, line)).map(|(_, line)| (*line).to_owned()).collect()
}

/// What a line of the host's has the counters of: a port of the switch, or a flow table.
fn counted_by_host(line: &str) -> Option<&str> {
    let of_port = line.starts_with("switch ") || line.starts_with("flows ");
    line.match_indices(' ').nth(1).filter(|_| of_port).map(|(at, _)| line.split_at(at).0)
}

/// What a line of a VM's has the counters of: a path of a chain, or frames on none.
fn counted_by_vm(line: &str) -> Option<&str> {
    let (of, counts) = line.split_once(": ")?;
    (counts.contains(" packets, ") && (of == "no chain" || of.starts_with("chain "))).then_some(of)
}

fn files(report: &Report, out: Option<&Path>) -> Result<BTreeMap<String, File>> {
    let mut files = BTreeMap::new();
    for (name, bytes) in &report.files {
        // A name is the VM's choice: it may lead nowhere else.
        let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        let path = out.filter(|_| is_plain).map(|folder| folder.join(name));
        if let Some(path) = &path {
            fs::create_dir_all(path.parent().unwrap_or(path)).with_context(|| path.display().to_string())?;
            fs::write(path, bytes).with_context(|| path.display().to_string())?;
        }
        files.insert(name.clone(), File { bytes: bytes.len(), path });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_counters_that_are_printed_again_the_last_line_is_shown() {
        let text = "[a] chain c version 0, forward, 2 of 3: 1 packets, 2 bytes, 0 bypassed, 0 dropped\n\
                    [a] no chain: 0 packets, 0 bytes, 0 bypassed, 0 dropped\n[a] chain of thought: none\n\
                    [a] chain of thought: none\n[b] no chain: 9 packets, 0 bytes, 0 bypassed, 0 dropped\n\
                    [a] chain c version 0, forward, 2 of 3: 5 packets, 9 bytes, 0 bypassed, 0 dropped\n\
                    [a] no chain: 1 packets, 0 bytes, 0 bypassed, 0 dropped\n\
                    [a] switch p state=up\n[a] switch p state=down\n\
                    [launcher] switch a received=1\n[launcher] switch b received=2\n[launcher] switch a received=3\n";
        let report = Report::parse(text, "launcher");
        let a = lines_of(&report, "a", counted_by_vm);
        assert!(a.len() == 6 && a[2].contains("5 packets") && a[3].contains("1 packets"), "{a:#?}");
        assert_eq!(lines_of(&report, "launcher", counted_by_host), ["switch b received=2", "switch a received=3"]);
    }
}
