//! All processes, until the last has ended, or the first has ended in a way that fails the run.

use crate::console::Console;
use crate::launch::LaunchError;
use crate::process::{End, NewProcess, Process};
use crate::shared::Shared;
use crate::{Options, flows};
use sluice_guard::Signals;
use std::io;
use std::time::{Duration, Instant};

/// Time that a VM which ended soon after its start waits before it is started again. The time doubles with each such
/// end in a row.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Time after which the end of a VM is not counted as soon after its start.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// Longest time between two looks at the flow tables.
const TURN: Duration = Duration::from_millis(2);

/// The processes of a manifest's VMs.
pub struct Run<'a, 's> {
    options: &'a Options,
    signals: &'s Signals,
    console: &'a mut Console<'s>,
    parts: &'a [NewProcess<'a>],
    shared: Shared,
    /// Time from one print of the counters to the next, and when that is due.
    report: Option<(Duration, Instant)>,
    processes: Vec<Process>,
    /// The VMs that start again, and when.
    waiting: Vec<(usize, Instant)>,
    /// The lives of each VM, by id.
    lives: Vec<Lives>,
}

/// Counts of a VM's starts.
#[derive(Clone, Copy, Default)]
struct Lives {
    /// Number of times that the VM was started again.
    restarts: u32,
    /// Number of lives in a row, up to the last, that ended soon after their start.
    short: u32,
}

impl<'a, 's> Run<'a, 's> {
    pub fn new(
        options: &'a Options,
        signals: &'s Signals,
        console: &'a mut Console<'s>,
        parts: &'a [NewProcess<'a>],
        shared: Shared,
        report: Option<Duration>,
    ) -> Self {
        let (processes, waiting, lives) = (Vec::new(), Vec::new(), vec![Lives::default(); parts.len()]);
        let report = report.map(|time| (time, Instant::now() + time));
        Self { options, signals, console, parts, shared, report, processes, waiting, lives }
    }

    /// Starts all VMs, and waits until `end` at most. A VM that still runs afterwards is killed.
    pub fn until_all_ended(mut self, end: Option<Instant>) -> Result<(), LaunchError> {
        let mut result = self.work(end);
        for mut process in std::mem::take(&mut self.processes) {
            process.kill(self.console);
            self.console.say(&format!("vm {} stopped with the run", self.parts[process.id].config.name));
        }
        self.say_counters();
        self.shared.bridge_lines().for_each(|line| self.console.say(&line));
        if let Some((name, error)) = self.shared.tap_error() {
            result = result.and(Err(LaunchError::Tap { name, error }));
        }
        result
    }

    /// Prints the counters of each port of the switch that was used.
    fn say_counters(&mut self) {
        for parts in self.parts {
            let counted = self.shared.counters(parts.id).named().into_iter().filter(|(_, count)| *count > 0);
            let words: String = counted.map(|(name, count)| format!(" {name}={count}")).collect();
            if !words.is_empty() {
                self.console.say(&format!("switch {}{words}", parts.config.name));
            }
            let line = self.shared.flows().line(parts.id, &parts.config.name, flows::now());
            line.iter().for_each(|line| self.console.say(line));
        }
    }

    fn work(&mut self, end: Option<Instant>) -> Result<(), LaunchError> {
        for id in 0..self.parts.len() {
            self.start(id)?;
        }
        let mut busy = false;
        loop {
            self.look(end)?;
            if self.processes.is_empty() && self.waiting.is_empty() {
                return Ok(());
            }
            let turn = (!self.shared.flows().is_empty()).then(|| Instant::now() + TURN);
            let processes = self.processes.iter().flat_map(Process::sources);
            let sources: Vec<_> = processes.chain(self.shared.sources()).collect();
            // While the switch has more frames to take, events are polled and not waited for.
            let now = busy.then(Instant::now);
            let report = self.report.map(|(_, due)| due);
            let next = self.waiting.iter().map(|(_, at)| *at).chain(end).chain(now).chain(turn).chain(report).min();
            self.signals.wait(&sources, next);
            let Self { processes, console, shared, .. } = self;
            processes.iter_mut().for_each(|process| process.serve(console, shared));
            busy = shared.serve();
            busy |= shared.serve_bridges(console);
            self.end_the_late();
            if let Some((time, due)) = self.report.filter(|(_, due)| Instant::now() >= *due) {
                self.say_counters();
                self.report = Some((time, due.max(Instant::now() - time) + time));
            }
        }
    }

    /// Looks after flow tables, and ends the processes that do not report that a change is done: they have their peers'
    /// memory for as long as they live.
    fn end_the_late(&mut self) {
        for vm in self.shared.stuck() {
            let name = &self.parts[vm as usize].config.name;
            self.console.say(&format!("vm {name} stayed in a call to a peer that was taken away, and is ended"));
        }
        for vm in self.shared.turn() {
            let Some(process) = self.processes.iter_mut().find(|process| process.id == vm as usize) else { continue };
            if process.end() {
                let name = &self.parts[vm as usize].config.name;
                let text = format!("vm {name} did not report in time that it uses no entry of before, and is ended");
                self.console.say(&text);
            }
        }
    }

    /// Handles the clock, signals, and processes that ended.
    fn look(&mut self, end: Option<Instant>) -> Result<(), LaunchError> {
        let mut at = 0;
        while let Some(process) = self.processes.get_mut(at) {
            let id = process.id;
            match process.ended(self.console).map_err(|error| self.system(id, "process".into(), error))? {
                None => at += 1,
                Some(end) => {
                    self.processes.swap_remove(at);
                    self.ended(id, end)?;
                }
            }
        }
        if let Some(signal) = self.signals.raised() {
            return Err(LaunchError::Signal(signal));
        }
        let now = Instant::now();
        let due = self.waiting.extract_if(.., |(_, at)| *at <= now).collect::<Vec<_>>();
        due.into_iter().try_for_each(|(id, _)| self.start_again(id))?;
        let running = self.processes.iter().map(|process| process.id).chain(self.waiting.iter().map(|(id, _)| *id));
        let mut vms = running.map(|id| self.parts[id].config.name.as_str()).collect::<Vec<_>>();
        vms.sort();
        if end.is_some_and(|end| now >= end) && !vms.is_empty() {
            return Err(LaunchError::Timeout { vms: vms.join(", "), seconds: self.options.timeout });
        }
        Ok(())
    }

    fn start(&mut self, id: usize) -> Result<(), LaunchError> {
        self.shared.start(id as u32);
        let image = &self.parts[id].image;
        let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound && image.exists();
        let failed = |error: io::Error| {
            let hint = if missing(&error) { " (the interpreter or loader that it names)" } else { "" };
            self.system(id, format!("image {}{hint}", image.display()), error)
        };
        let process = Process::start(&self.parts[id]).map_err(failed)?;
        self.shared.runs(id as u32, process.group());
        self.processes.push(process);
        Ok(())
    }

    fn start_again(&mut self, id: usize) -> Result<(), LaunchError> {
        self.shared.restart(id as u32);
        self.start(id)?;
        let config = self.parts[id].config;
        let text = format!("vm {} starts again, {} of {}", config.name, self.lives[id].restarts, config.restarts);
        self.console.say(&text);
        Ok(())
    }

    /// Handles the end of VM `id`: it starts again, or its failure ends the run, or the others go on.
    fn ended(&mut self, id: usize, end: End) -> Result<(), LaunchError> {
        self.shared.remove(id as u32);
        let (config, lives) = (self.parts[id].config, &mut self.lives[id]);
        let said = end.error.map(|error| format!(": {error}")).unwrap_or_default();
        let text = format!("vm {} {}", config.name, end.how);
        self.console.say(&text);
        if lives.restarts < config.restarts {
            lives.restarts += 1;
            lives.short = if end.lived < LONG_LIFE { lives.short + 1 } else { 0 };
            self.waiting.push((id, Instant::now() + back_off(lives.short)));
            return Ok(());
        }
        if end.is_good { Ok(()) } else { Err(LaunchError::Vm(text + &said)) }
    }

    fn system(&self, id: usize, what: String, error: io::Error) -> LaunchError {
        LaunchError::System { vm: self.parts[id].config.name.clone(), what, error }
    }
}

/// Returns how long a VM waits that ended soon after its start `short` times in a row.
fn back_off(short: u32) -> Duration {
    match short.checked_sub(1) {
        None => Duration::ZERO,
        Some(doubled) => FIRST_WAIT.saturating_mul(1 << doubled.min(16)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_crashes_in_a_loop_waits_longer_each_time() {
        let waits: Vec<_> = (0..100).map(back_off).collect();
        assert_eq!(waits[..4].iter().map(Duration::as_millis).collect::<Vec<_>>(), [0, 50, 100, 200]);
        assert!(waits.is_sorted() && waits[99] == LONGEST_WAIT);
        assert_eq!(back_off(u32::MAX), LONGEST_WAIT);
    }
}
