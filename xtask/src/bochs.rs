//! The monitor in Bochs, without a screen. See: Bochs user manual, "bochsrc".

use crate::iso;
use crate::{Report, Scenario};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs `scenario` to the monitor's verdict.
pub fn run(scenario: &Scenario) -> Result<Report> {
    // A folder of its own: a run that was killed leaves lock files.
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    iso::write(&folder.join("boot.iso"), &[("sluice", scenario)], 0, &["/usr/lib/grub/i386-pc"])?;
    fs::write(folder.join("bochsrc"), configuration(scenario))?;
    fs::write(folder.join("commands"), "c\nq\n")?;
    let status = start(folder, scenario.timeout)?;
    let output = fs::read(folder.join("out"))?;
    let report = Report::parse(&String::from_utf8_lossy(&output), "monitor");
    if report.verdict.is_none() {
        let last = report.lines.last().cloned().unwrap_or_default();
        let errors = fs::read(folder.join("err"))?;
        bail!(
            "Bochs ended without a verdict ({status}, timeout {} s); last line: {last}; {}",
            scenario.timeout,
            String::from_utf8_lossy(&errors).lines().last().unwrap_or_default()
        );
    }
    Ok(report)
}

/// The display `term` wants a terminal type; only SIGINT ends a hanging Bochs in order.
fn start(folder: &Path, timeout: u64) -> Result<std::process::ExitStatus> {
    let mut command = Command::new("timeout");
    command.args(["-s", "INT", "-k", "3", &timeout.to_string()]);
    command.args(["bochs", "-q", "-f", "bochsrc", "-rc", "commands"]).env("TERM", "dumb").current_dir(folder);
    command
        .stdin(Stdio::null())
        .stdout(fs::File::create(folder.join("out"))?)
        .stderr(fs::File::create(folder.join("err"))?);
    command.status().context("bochs")
}

/// One tick is one instruction on a machine with one processor, and the start time is fixed: every run is the same.
fn configuration(scenario: &Scenario) -> String {
    format!(
        "config_interface: textconfig
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_icelake_u, count={processors}, ips=4000000, reset_on_triple_fault=0
memory: guest={memory}, host={memory}
clock: sync=none, time0=946681200
speaker: enabled=0
sound: driver=dummy, waveoutdrv=dummy
port_e9_hack: enabled=1
ata0-master: type=cdrom, path=boot.iso, status=inserted
boot: cdrom
log: log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
",
        processors = scenario.processors,
        memory = scenario.memory_mib,
    )
}
