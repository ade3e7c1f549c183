//! The outcome of a run: consoles by VM, or one JSON object.

use crate::{Report, is_piece};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
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
    /// `passed` says, and writes the files that VMs wrote to folder `out`.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn new<'n>(
        host: RunHost,
        vms: impl Iterator<Item = &'n str>,
        report: Report,
        passed: Duration,
        (timeout, out): (u64, Option<&Path>),
    ) -> Result<Self> {
        let vms = vms.map(|name| Vm {
            name: name.to_owned(),
            console: lines_of(&report, name),
            exits: report.exits.get(name).cloned().unwrap_or_default(),
        });
        let late = format!("the run did not end within {timeout} s");
        let result = report.verdict.clone().unwrap_or(Err(late));
        let timed_out = report.timed_out;
        let (seconds, host_lines, vms) = (passed.as_secs_f64(), lines_of(&report, host.tag), vms.collect());
        let files = files(&report, out)?;
        Ok(Self { result, timed_out, host: host.name, seconds, host_lines, vms, files, report })
    }

    /// Prints the consoles, one VM after the other, and the verdict.
    pub fn print(&self) {
        println!("on {}", self.host);
        let consoles = self.vms.iter().map(|vm| (vm.name.as_str(), &vm.console));
        for (name, lines) in consoles.chain([("host", &self.host_lines)]) {
            println!("\n── {name} ──");
            lines.iter().for_each(|line| println!("{line}"));
        }
        println!();
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
