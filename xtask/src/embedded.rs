//! The launcher: VMs as plain processes.

use crate::{Scenario, artifacts};
use anyhow::{Result, bail, ensure};
use sluice_guard::watched;
use sluice_report::Report;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

/// Runs `scenario` to the launcher's verdict. Shows `look` what is printed, as `watched` does.
pub fn run(scenario: &Scenario, look: impl FnMut(&str)) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let (files, out) = (folder.path().join("files"), folder.path().join("out"));
    fs::create_dir(&files)?;
    fs::create_dir(&out)?;
    let manifest = folder.path().join("manifest.toml");
    fs::write(&manifest, &scenario.manifest)?;
    for (name, bytes) in &scenario.modules {
        fs::write(files.join(name), bytes)?;
    }
    let images = folder.path().join("images");
    fs::create_dir(&images)?;
    for (name, path) in scenario.image_files(&artifacts::hosted()) {
        symlink(path.canonicalize()?, images.join(name))?;
    }
    let mut command = Command::new(artifacts::hosted().join("sluice-launcher"));
    command.arg("--images").arg(&images).arg("--files").arg(&files).arg("--out").arg(&out);
    command.arg("--timeout").arg(scenario.timeout.to_string()).arg(&manifest);
    // The launcher ends by itself: see `sluice-launcher --help`.
    let ended = watched(&mut command, Duration::from_secs(scenario.timeout.saturating_add(30)), look)?;
    let mut report = Report::parse(&String::from_utf8_lossy(&ended.output), "launcher");
    let Some(verdict) = &report.verdict else {
        bail!("the launcher gave no verdict ({}): {}", ended.status, String::from_utf8_lossy(&ended.errors).trim());
    };
    ensure!(verdict.is_ok() == ended.status.success(), "the launcher says {verdict:?} and ends with {}", ended.status);
    report.timed_out = verdict.as_ref().is_err_and(|reason| reason.contains(" still runs after "));
    for entry in fs::read_dir(&out)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "part") {
            // A process that was killed could not remove the file.
            continue;
        }
        report.files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    Ok(report)
}
