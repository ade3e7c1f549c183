//! Boot images: GRUB, the monitor, and modules.

use crate::artifacts;
use crate::scenario::Scenario;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a boot image with one menu entry per scenario to `target`. `platforms`: folders of GRUB modules.
pub fn write(target: &Path, scenarios: &[(&str, &Scenario)], timeout: u32, platforms: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let boot = folder.path().join("boot");
    fs::create_dir_all(boot.join("grub"))?;
    fs::copy(artifacts::bare().join("sluice-monitor"), boot.join("monitor")).context("monitor")?;
    fs::copy(artifacts::bare().join("window"), boot.join("window")).context("window")?;
    let mut menu = format!("set timeout={timeout}\n");
    for (number, (title, scenario)) in scenarios.iter().enumerate() {
        menu += &entry(&boot, number, title, scenario)?;
    }
    fs::write(boot.join("grub/grub.cfg"), menu)?;
    grub_mkrescue(folder.path(), target, platforms)
}

fn entry(boot: &Path, number: usize, title: &str, scenario: &Scenario) -> Result<String> {
    fs::write(boot.join(format!("manifest{number}")), &scenario.manifest)?;
    let mut text = format!("menuentry \"{title}\" {{\nmultiboot2 /boot/monitor\n");
    text += &format!("module2 /boot/manifest{number} manifest\n");
    // A scenario may have one of its own.
    if !scenario.modules.iter().any(|(name, _)| name == "window") {
        text += "module2 /boot/window window\n";
    }
    // The monitor notices an image that is named and missing, as on any machine.
    for (name, path) in scenario.image_files(&artifacts::bare()) {
        fs::copy(&path, boot.join(format!("{number}-{name}"))).with_context(|| path.display().to_string())?;
        text += &format!("module2 /boot/{number}-{name} {name}\n");
    }
    for (name, bytes) in &scenario.modules {
        fs::write(boot.join(format!("{number}-{name}")), bytes)?;
        text += &format!("module2 /boot/{number}-{name} {name}\n");
    }
    Ok(text + "}\n")
}

fn grub_mkrescue(folder: &Path, target: &Path, platforms: &[&str]) -> Result<()> {
    let mut command = Command::new("grub-mkrescue");
    if let [only] = platforms {
        command.args(["-d", only]);
    }
    let output = command.arg("-o").arg(target).arg(folder).stdin(Stdio::null()).output().context("grub-mkrescue")?;
    if !output.status.success() {
        bail!("grub-mkrescue: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
