//! Which flows the datapath has, and what has changed since they were read last.
//!
//! Open vSwitch tells nobody when a flow of its datapath changes, so all are asked for again and again: how long a
//! change stays unknown has a bound, and [`Seen::asked`] says it of each answer.
//!
//! ```text
//! poll ─► dpif/show ─► dpctl/dump-flows ─► dpif/show ─► differences
//!          numbers of the ports before, and after: flows count only if they are the same
//! ```

use crate::error::Result;
use crate::flow::{self, Counters, DatapathFlow, Dump, Known, Refusal, Ufid};
use crate::ports::{self, Ports};
use crate::unixctl::{Client, Limits};
use std::collections::BTreeMap;
use std::mem::replace;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The flow is gone, or is no longer one for a table.
    Removed(Ufid),
    /// The flow has other actions, or another mask. In a table it is to be replaced.
    Changed(DatapathFlow),
    /// There is a flow that was not there before, or was refused.
    Added(DatapathFlow),
    /// There is a flow that is none for a table: said once for each flow and reason.
    Refused(Ufid, Refusal),
}

/// What the datapath had.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What differs from the last time: first what goes, so that there is room for what comes.
    pub changes: Vec<Change>,
    /// When the flows were asked for: they are those of this time, or of later ones.
    pub asked: Instant,
    /// Time that all questions of this round took.
    pub took: Duration,
}

/// The flows of a datapath, as they were read last.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    bridge: String,
    names: Vec<(u16, String)>,
    period: Duration,
    step: Step,
    /// When this round, or the last one, began.
    began: Instant,
    /// When the flows are asked for next.
    due: Option<Instant>,
    known: BTreeMap<Ufid, Known>,
    /// The ports that they are of.
    ports: Ports,
}

/// What is awaited.
#[derive(Debug)]
enum Step {
    Nothing,
    /// The numbers of the ports.
    Ports,
    /// The flows, asked for at this time.
    Flows(Ports, Instant),
    /// The numbers of the ports, after the flows came.
    Again(Ports, Instant, String),
    /// Nothing more: all is there, and is being read.
    Reading(Ports, Instant, Dump),
}

/// Flows that one poll reads, at most, so that many flows do not keep the caller from its other work.
const LINES: usize = 512;

impl Follower {
    /// Returns who follows the flows of `bridge`, by the control socket at `path`. `names` are our numbers of its
    /// ports, and their names in Open vSwitch.
    ///
    /// The flows are asked for once in `period` at most, and for half of the time at most: Open vSwitch's main thread
    /// answers, which here also forwards frames.
    pub fn new(path: &Path, limits: Limits, bridge: &str, names: &[(u16, String)], period: Duration) -> Self {
        let (bridge, names, client) = (bridge.to_owned(), names.to_vec(), Client::new(path, limits));
        let (known, ports) = (BTreeMap::new(), Ports::default());
        let (step, began) = (Step::Nothing, Instant::now());
        Self { client, bridge, names, period, step, began, due: None, known, ports }
    }

    /// Goes on with asking, without waiting. Returns what the datapath had once all of it is known.
    ///
    /// A change that Open vSwitch made at some time is among those of the first [`Seen`] that was asked for later. If
    /// this is called all the time and a round of questions takes T, it is known after max(period, 2 T) + T.
    ///
    /// # Errors
    /// [`Error`](crate::Error): what is known stays as it is, which may be old. The flows are asked for again after the
    /// period.
    pub fn poll(&mut self, now: Instant) -> Result<Option<Seen>> {
        if matches!(self.step, Step::Nothing) {
            if self.due.is_some_and(|due| now < due) {
                return Ok(None);
            }
            (self.began, self.due) = (now, Some(now + self.period));
            self.client.ask(now, ports::COMMAND, &[])?;
            self.step = Step::Ports;
        }
        let seen = self.go_on(now);
        if seen.is_err() {
            self.client.hang_up();
            self.step = Step::Nothing;
            self.due = Some(now + self.period);
        }
        seen
    }

    /// Returns the flows that a table may have, with what Open vSwitch counted for them.
    pub fn flows(&self) -> impl Iterator<Item = (&DatapathFlow, Counters)> {
        self.known.values().filter_map(|known| Some((known.flow.as_ref().ok()?, known.counters)))
    }

    /// Returns what Open vSwitch counted for a flow, refused or not.
    pub fn counters(&self, ufid: Ufid) -> Option<Counters> {
        self.known.get(&ufid).map(|known| known.counters)
    }

    /// Returns the names of ports that the bridge does not have.
    pub fn missing(&self) -> &[String] {
        self.ports.missing()
    }

    /// Returns the control socket, if it is open, and whether something waits to be written.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.client.interest()
    }

    /// Returns when [`Follower::poll`] has something to do, even if the socket is quiet: `None` while an answer is
    /// awaited, whose time-out is noticed by the next call after it.
    pub fn due(&self) -> Option<Instant> {
        match self.step {
            Step::Nothing => Some(self.due.unwrap_or(self.began)),
            Step::Reading(..) => Some(self.began),
            _ => None,
        }
    }

    fn go_on(&mut self, now: Instant) -> Result<Option<Seen>> {
        if matches!(self.step, Step::Reading(..)) {
            return self.read(now);
        }
        let Some(answer) = self.client.poll(now)? else { return Ok(None) };
        self.step = match replace(&mut self.step, Step::Nothing) {
            Step::Ports => {
                let ports = self.read_ports(&answer)?;
                self.client.ask(now, flow::COMMAND, &["-m", "--no-names", ports.datapath()])?;
                Step::Flows(ports, now)
            }
            Step::Flows(ports, asked) => {
                self.client.ask(now, ports::COMMAND, &[])?;
                Step::Again(ports, asked, answer)
            }
            Step::Again(ports, asked, flows) => {
                self.due = self.due.max(Some(now + now.saturating_duration_since(self.began)));
                // Some numbers may be those of other ports. The next flows will be of one kind.
                let same = self.read_ports(&answer)? == ports;
                if same { Step::Reading(ports, asked, Dump::new(flows)) } else { Step::Nothing }
            }
            step => step,
        };
        Ok(None)
    }

    /// Reads some of the flows, and returns what has changed once all are read.
    fn read(&mut self, now: Instant) -> Result<Option<Seen>> {
        let Step::Reading(ports, asked, mut dump) = replace(&mut self.step, Step::Nothing) else { return Ok(None) };
        let none = BTreeMap::new();
        if dump.go_on(LINES, &ports, if ports == self.ports { &self.known } else { &none })? {
            self.step = Step::Reading(ports, asked, dump);
            return Ok(None);
        }
        let new = dump.all();
        let changes = differences(&self.known, &new);
        (self.known, self.ports) = (new, ports);
        Ok(Some(Seen { changes, asked, took: now.saturating_duration_since(self.began) }))
    }

    fn read_ports(&self, answer: &str) -> Result<Ports> {
        Ports::read(answer, &self.bridge, &self.names)
    }
}

/// Returns how to come from the `old` flows to the `new` ones.
fn differences(old: &BTreeMap<Ufid, Known>, new: &BTreeMap<Ufid, Known>) -> Vec<Change> {
    let is_for_a_table = |ufid| new.get(ufid).is_some_and(|known| known.flow.is_ok());
    let gone = old.iter().filter(|(ufid, known)| known.flow.is_ok() && !is_for_a_table(*ufid));
    let removed = gone.map(|(ufid, _)| Change::Removed(*ufid));
    let (mut changed, mut others) = (Vec::new(), Vec::new());
    for (ufid, known) in new {
        match (&known.flow, old.get(ufid).map(|known| &known.flow)) {
            (now, Some(before)) if now == before => {}
            (Ok(now), Some(Ok(_))) => changed.push(Change::Changed(*now)),
            (Ok(now), _) => others.push(Change::Added(*now)),
            (Err(why), _) => others.push(Change::Refused(*ufid, why.clone())),
        }
    }
    removed.chain(changed).chain(others).collect()
}

#[cfg(test)]
mod tests;
