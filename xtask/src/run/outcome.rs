//! The outcome of a run: consoles by VM, or one JSON object.

use super::manifest::Source;
use crate::Host;
use anyhow::{Context, Result};
use serde::Serialize;
use sluice_report::{Report, is_piece};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The outcome of a run.
#[derive(Debug)]
pub struct Outcome {
    pub result: Result<(), String>,
    pub timed_out: bool,
    host: &'static str,
    seconds: f64,
    /// The host's own lines.
    host_lines: Vec<String>,
    vms: Vec<Vm>,
    files: BTreeMap<String, File>,
    report: Report,
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
    /// Takes `report` apart, of a run that had `timeout` seconds, and writes the files that VMs wrote to folder `out`.
    pub fn new(
        host: Host,
        source: &Source,
        report: Report,
        passed: Duration,
        (timeout, out): (u64, Option<&Path>),
    ) -> Result<Self> {
        let vms = source.manifest.vms.iter().map(|vm| Vm {
            name: vm.name.clone(),
            console: lines_of(&report, &vm.name),
            exits: report.exits.get(&vm.name).cloned().unwrap_or_default(),
        });
        let late = format!("the run did not end within {timeout} s");
        let result = report.verdict.clone().unwrap_or(Err(late));
        let timed_out = report.timed_out;
        let (host, tag) = match host {
            Host::Bochs => ("the monitor, in the emulator Bochs", "monitor"),
            Host::Embedded => ("plain Linux processes; nothing protects them from each other", "launcher"),
        };
        let (seconds, host_lines, vms) = (passed.as_secs_f64(), lines_of(&report, tag), vms.collect());
        let files = files(&report, out)?;
        Ok(Self { result, timed_out, host, seconds, host_lines, vms, files, report })
    }

    /// Prints the consoles, one VM after the other, and the verdict.
    pub fn print(&self) {
        println!("on {}", self.host);
        let consoles = self.vms.iter().map(|vm| (vm.name.as_str(), &vm.console));
        for (name, lines) in consoles.chain([("host", &self.host_lines)]) {
            println!("\n── {name} ──");
            lines.iter().for_each(|line| println!("{line}"));
        }
        println!("");
        for (name, File { bytes, path }) in &self.files {
            let place =
                path.as_ref().map_or("kept nowhere: --out names a folder".into(), |path| path.display().to_string());
            println!("file {name}: {bytes} bytes, {place}");
        }
        match &self.result {
            Ok(()) => println!("pass, {:.1} s", self.seconds),
            Err(reason) => println!("fail, {:.1} s: {reason}", self.seconds),
        }
    }

    /// Prints one JSON object.
    pub fn print_json(&self) {
        let word = match &self.result {
            Ok(()) => "pass",
            Err(_) if self.timed_out => "timeout",
            Err(_) => "fail",
        };
        let all = serde_json::json!({
            "result": word, "reason": self.result.as_ref().err(), "on": self.host, "seconds": self.seconds,
            "vms": self.vms, "host": self.host_lines, "rows": self.report.rows, "files": self.files,
        });
        println!("{all:#}");
    }
}

/// The lines with tag `tag`, without the tag and without pieces of files.
fn lines_of(report: &Report, tag: &str) -> Vec<String> {
    let tag = format!("[{tag}] ");
    let lines = report.lines.iter().filter_map(|line| line.strip_prefix(&tag));
    lines.filter(|line| !is_piece(line)).map(str::to_owned).collect()
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
