//! What is shown of a run while it goes on: the counters of in-VM switches and chains.

use crate::{Host, Scenario};
use sluice_report::{Counters, RunHost};
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};
use toml::{Table, Value};

/// Least time between two views.
const PAUSE: Duration = Duration::from_millis(250);
/// Clears a terminal, and goes to its first line. See: ECMA-48, 8.3.39 "ED", 8.3.21 "CUP".
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Asks the host and the VMs of `scenario` to print their counters now and then, where the files don't say when.
pub fn ask(scenario: &mut Scenario, host: Host) {
    // The emulated machine executes some ten million instructions a second, of which each is a tick.
    let (ticks, milliseconds) = if host == Host::Bochs { (100_000_000, 100) } else { (500_000_000, 500) };
    set(&mut scenario.manifest, &format!("report_ticks = {ticks}"), |_| true);
    for (_, file) in &mut scenario.modules {
        let Ok(mut text) = String::from_utf8(file.clone()) else { continue };
        set(&mut text, &format!("report_ms = {milliseconds}"), is_chain_file);
        *file = text.into_bytes();
    }
}

/// Begins a TOML file that `is_right` with `line`, unless it has that key.
fn set(text: &mut String, line: &str, is_right: impl Fn(&Table) -> bool) {
    let key = line.split(' ').next().unwrap_or_default();
    if text.parse::<Table>().is_ok_and(|table| is_right(&table) && !table.contains_key(key)) {
        // Before a comment, or an empty line, the lines keep their numbers.
        let end = if text.starts_with(['#', '\n', '\r']) { " " } else { "\n" };
        text.insert_str(0, &format!("{line}{end}"));
    }
}

fn is_chain_file(table: &Table) -> bool {
    let is_chain = |chain: &Value| chain.get("path").is_some() && chain.get("ends").is_some();
    table.get("chain").and_then(Value::as_array).is_some_and(|chains| chains.iter().all(is_chain))
}

/// The counters of a run, and when they were shown.
pub struct Live {
    counters: Counters,
    start: Instant,
    shown: Instant,
    /// Something changed since.
    is_new: bool,
    watch: bool,
}

impl Live {
    /// Starts now. Counters are shown on standard error if `watch` says so.
    pub fn new(host: RunHost, watch: bool) -> Self {
        let now = Instant::now();
        Self { counters: Counters::new(host), start: now, shown: now, is_new: false, watch }
    }

    /// Takes lines of consoles, and shows the counters if they changed and it is time.
    pub fn read(&mut self, lines: &str) {
        let at = self.start.elapsed().as_secs_f64();
        for line in lines.lines() {
            self.is_new |= self.counters.read(line, at);
        }
        if self.watch && self.is_new && self.shown.elapsed() >= PAUSE {
            (self.shown, self.is_new) = (Instant::now(), false);
            let clear = if stderr().is_terminal() { CLEAR } else { "" };
            eprintln!("{clear}{at:.1} s\n{}\n", self.counters.tables(true));
            self.counters.shown();
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
    fn files_that_say_when_are_as_they_were_and_lines_keep_their_numbers() {
        let chain = "[[chain]]\nname = \"c\"\npath = 1\nends = [\"a\", \"b\"]\n";
        let foreign =
            ["report_ms = 0\n[[chain]]\npath = 1\nends = []\n", "[[chain]]\nrule = 1\n", "chain = 1\n", "chain"];
        let asked = |text: &str, file: &str| {
            let mut scenario = Scenario::new(text);
            scenario.modules = vec![("file".into(), file.into()), ("bytes".into(), vec![0xff])];
            ask(&mut scenario, Host::Embedded);
            (scenario.manifest, String::from_utf8(scenario.modules.swap_remove(0).1).unwrap())
        };
        assert_eq!(asked("[[vm]]\n", chain).1, format!("report_ms = 500\n{chain}"));
        let commented = format!("# Two\n{chain}");
        let (manifest, file) = asked("\n[[vm]]\n", &commented);
        assert_eq!(
            (manifest.as_str(), file),
            ("report_ticks = 500000000 \n[[vm]]\n", format!("report_ms = 500 {commented}"))
        );
        assert!([manifest, commented].iter().all(|text| text.parse::<Table>().is_ok()));
        for file in foreign {
            assert_eq!(asked("report_ticks = 0\n", file), ("report_ticks = 0\n".into(), file.into()));
        }
    }
}
