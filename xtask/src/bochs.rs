//! The monitor in Bochs, without a screen. See: Bochs user manual, "bochsrc".

use crate::{Scenario, iso};
use anyhow::{Result, bail};
use sluice_guard::watched;
use sluice_report::Report;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Runs `scenario` to the monitor's verdict, or as long as it may take: then the report has none. Shows `look` what
/// is printed, as [`watched`] does.
pub fn run(scenario: &Scenario, look: impl FnMut(&str)) -> Result<Report> {
    // A folder of its own: a run that was killed leaves lock files.
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    iso::write(&folder.join("boot.iso"), &[("sluice", scenario)], 0, &["/usr/lib/grub/i386-pc"])?;
    fs::write(folder.join("bochsrc"), configuration(scenario))?;
    fs::write(folder.join("commands"), "c\nq\n")?;
    // The display `term` wants a terminal type; only SIGINT ends a hanging Bochs in order.
    let mut command = Command::new("bochs");
    command.args(["-q", "-f", "bochsrc", "-rc", "commands"]).env("TERM", "dumb").current_dir(folder);
    let ended = watched(&mut command, Duration::from_secs(scenario.timeout), look)?;
    let mut report = Report::parse(&String::from_utf8_lossy(&ended.output), "monitor");
    report.timed_out = report.verdict.is_none() && !ended.in_time;
    if report.verdict.is_none() && ended.in_time {
        let last = report.lines.last().cloned().unwrap_or_default();
        let errors = String::from_utf8_lossy(&ended.errors);
        let error = errors.lines().last().unwrap_or_default();
        bail!("Bochs ended by itself without a verdict ({}); last line: {last}; {error}", ended.status);
    }
    Ok(report)
}

/// Returns the configuration. On a machine with one processor a tick is an instruction, and the start time is fixed, so
/// every run is the same.
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
