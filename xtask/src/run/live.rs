//! What is shown of a run while it goes on: the counters of in-VM switches and chains.

use crate::{Host, Scenario};
use sluice_control::Manifest;
use sluice_report::{Counters, RunHost};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Least time between two views.
const PAUSE: Duration = Duration::from_millis(250);
/// Clears a terminal, and goes to its first line. See: ECMA-48, 8.3.39 "ED", 8.3.21 "CUP".
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Asks the host and the VMs of `scenario`, whose manifest is `manifest`, to print their counters now and then, where
/// the files don't say so themselves.
pub fn ask(scenario: &mut Scenario, host: Host, manifest: &Manifest) {
    // The emulated machine executes some ten million instructions a second, of which each is a tick.
    let (ticks, milliseconds) = if host == Host::Bochs { (100_000_000, 100) } else { (500_000_000, 500) };
    if manifest.report_ticks == 0 {
        scenario.manifest.insert_str(0, &format!("report_ticks = {ticks}\n"));
    }
    for (_, file) in &mut scenario.modules {
        let table = str::from_utf8(file).ok().and_then(|text| text.parse::<toml::Table>().ok());
        if table.is_some_and(|table| table.contains_key("chain") && !table.contains_key("report_ms")) {
            file.splice(..0, format!("report_ms = {milliseconds}\n").into_bytes());
        }
    }
}

/// The counters of a run, and when they were shown.
pub struct Live {
    counters: Counters,
    start: Instant,
    shown: Option<Instant>,
    watch: bool,
}

impl Live {
    /// Starts now. Counters are shown on standard error if `watch` says so.
    pub fn new(host: RunHost, watch: bool) -> Self {
        Self { counters: Counters::new(host), start: Instant::now(), shown: None, watch }
    }

    /// Takes a line of a console, and shows the counters if it is time.
    pub fn read(&mut self, line: &str) {
        let is_new = self.counters.read(line, self.start.elapsed().as_secs_f64());
        if self.watch && is_new && self.shown.is_none_or(|shown| shown.elapsed() >= PAUSE) {
            self.shown = Some(Instant::now());
            let clear = if stderr().is_terminal() { CLEAR } else { "" };
            eprintln!("{clear}{:.1} s\n{}\n", self.start.elapsed().as_secs_f64(), self.counters.tables(true));
        }
    }

    /// Ends.
    pub fn counters(self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_say_when_are_as_they_were() {
        let text = "[[vm]]\nname = \"a\"\nram_mib = 16\nimage = \"x\"\ngate = \"isolated\"\n";
        let files = ["[[chain]]\nname = \"c\"\n", "report_ms = 9\n[[chain]]\n", "[other]\n", "chain", "\u{0}"];
        let asked = |text: &str| {
            let mut scenario = Scenario::new(text);
            scenario.modules = files.map(|file| (file.to_owned(), file.as_bytes().to_vec())).into();
            ask(&mut scenario, Host::Embedded, &Manifest::parse(text).unwrap());
            Manifest::parse(&scenario.manifest).map(|manifest| (manifest.report_ticks, scenario.modules)).unwrap()
        };
        let (ticks, modules) = asked(text);
        assert_eq!(ticks, 500_000_000);
        assert_eq!(modules[0].1, b"report_ms = 500\n[[chain]]\nname = \"c\"\n");
        assert!(modules[1..].iter().all(|(name, file)| name.as_bytes() == file));
        assert_eq!(asked(&format!("report_ticks = 7\n{text}")).0, 7);
    }
}
