//! The hosts that run a scenario: the monitor in the emulator, or the launcher.

use crate::{Scenario, artifacts, bochs, embedded, tools};
use anyhow::{Result, ensure};
use sluice_report::Report;

/// A host that runs scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The monitor, in Bochs.
    Bochs,
    /// The launcher: the embedded default.
    Embedded,
}

impl Host {
    /// The emulator where it can be had; else the embedded default, with one line that says why. Builds what it needs.
    pub fn best() -> Result<Self> {
        match tools::emulator() {
            Ok(()) => artifacts::build_bare().map(|()| Self::Bochs),
            Err(why) => {
                eprintln!("No emulated machine here ({why}).");
                Self::embedded()
            }
        }
    }

    /// The embedded default, with what it needs.
    pub fn embedded() -> Result<Self> {
        eprintln!(
            "Embedded default: plain Linux processes over shared memory, gate direct; nothing protects them from each \
             other."
        );
        artifacts::build_hosted().map(|()| Self::Embedded)
    }

    /// Runs `scenario` to the host's verdict.
    pub fn run(self, scenario: &Scenario) -> Result<Report> {
        let report = self.watch(scenario, |_| ())?;
        let last = || report.lines.last().map_or("", String::as_str);
        ensure!(report.verdict.is_some(), "no verdict after {} s; last line: {}", scenario.timeout, last());
        Ok(report)
    }

    /// Runs `scenario` to its end, or as long as the scenario's timeout says: a run that was stopped then may have no
    /// verdict. Shows `look` the lines of
    /// consoles that came since, some times a second, or none.
    pub fn watch(self, scenario: &Scenario, look: impl FnMut(&str)) -> Result<Report> {
        match self {
            Self::Bochs => bochs::run(scenario, look),
            Self::Embedded => embedded::run(scenario, look),
        }
    }
}
