//! The launcher: VMs as plain processes.

use crate::{Report, Scenario, artifacts};
use anyhow::{Context, Result, bail};
use std::fs;
use std::process::{Command, Stdio};

/// Runs `scenario` to the launcher's verdict.
pub fn run(scenario: &Scenario) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let (files, out) = (folder.path().join("files"), folder.path().join("out"));
    fs::create_dir(&files)?;
    fs::create_dir(&out)?;
    let manifest = folder.path().join("manifest.toml");
    fs::write(&manifest, &scenario.manifest)?;
    for (name, bytes) in &scenario.modules {
        fs::write(files.join(name), bytes)?;
    }
    let mut command = Command::new(artifacts::hosted().join("sluice-launcher"));
    command.arg("--images").arg(artifacts::hosted()).arg("--files").arg(&files).arg("--out").arg(&out);
    command.arg("--timeout").arg(scenario.timeout.to_string()).arg(&manifest);
    let output = command.stdin(Stdio::null()).output().context("sluice-launcher")?;
    let mut report = Report::parse(&String::from_utf8_lossy(&output.stdout), "launcher");
    if report.verdict.is_none() {
        bail!("the launcher gave no verdict: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    if report.verdict == Some(Ok(())) && !output.status.success() {
        bail!("the launcher said pass and ended with {}", output.status);
    }
    for entry in fs::read_dir(&out)? {
        let entry = entry?;
        report.files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    Ok(report)
}
