//! All in-VM switches of a host.

use crate::file::FlowFileError;
use crate::learning::Learning;
use crate::rules::Rules;
use crate::table::{FlowTable, Limits};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use sluice_abi::directory::MAX_PEERS;
use sluice_abi::flows::{Header, MAX_PAIRS};
use sluice_control::{Answer, FlowsConfig, Manifest, Missed, SlowPath, flow_ports};
use sluice_memory::PeerSlice;
use sluice_switch::{Counts, FlowMemory, FlowMemoryError, HEAD, Shape, ShapeError, SwitchStats};

/// Reasons for which an in-VM switch can't be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The flow memory can't be made.
    #[error("flows: {0}")]
    Memory(#[from] FlowMemoryError),
    /// The table can't be made.
    #[error("flows: {0}")]
    Shape(#[from] ShapeError),
    /// The sluice slot has no room for a table of this size.
    #[error("flows: no room for {0:?}")]
    Room(Shape),
    /// The file with flows is wrong.
    #[error("flows: {0}: {1}")]
    File(String, FlowFileError),
    /// This host can't have this full switch.
    #[error("flows: switch \"{0}\": not with this host")]
    Switch(String),
}

/// The ports of an in-VM switch.
#[derive(Clone, Debug)]
pub struct SwitchPorts<'a> {
    /// The number of each, and the name of the VM there.
    names: Vec<(u16, &'a str)>,
    /// The port of each sender: the first one's frames come in by queue pair 1.
    senders: Vec<u16>,
}

impl<'a> SwitchPorts<'a> {
    /// Returns the ports of an in-VM switch that sends to the VMs `peers`, and to which `senders` send. VM *id* is
    /// called `name(id)`.
    pub fn new(peers: &[usize], senders: &[usize], name: impl Fn(usize) -> &'a str) -> Self {
        let ports = flow_ports(peers, senders);
        let port = |sender| ports.iter().find(|(_, vm)| vm == sender).map_or(0, |(port, _)| *port);
        Self {
            senders: senders.iter().map(port).collect(),
            names: ports.iter().map(|(port, vm)| (*port, name(*vm))).collect(),
        }
    }

    /// Checks the file with flows of `config`, whose text is `text`.
    ///
    /// # Errors
    /// [`SetupError::File`].
    pub fn check(&self, config: &FlowsConfig, text: &str) -> Result<(), SetupError> {
        self.rules(config, text).map(drop)
    }

    fn rules(&self, config: &FlowsConfig, text: &str) -> Result<Rules, SetupError> {
        let rules = Rules::parse(text, &self.names, shape(config).lists);
        rules.map_err(|error| SetupError::File(config.switch.clone(), error))
    }

    /// Returns the ports to which frames can go, by bits.
    fn outputs(&self) -> u64 {
        let outputs = self.names.iter().filter(|(port, _)| usize::from(*port) < MAX_PEERS);
        outputs.fold(0, |bits, (port, _)| bits | 1 << port)
    }

    /// Returns the header of flow memory of this shape.
    fn header(&self, shape: Shape, seed: [u64; 2]) -> Header {
        let mut pairs = [0; MAX_PAIRS];
        // Pair 0 is the host's own switch.
        pairs[1..].iter_mut().zip(&self.senders).for_each(|(pair, port)| *pair = *port);
        let (Shape { entries, lists }, slow_pair) = (shape, 1 + self.senders.len() as u16);
        Header { entries, lists, slow_pair, seed, ports: pairs, ..Header::default() }
    }
}

/// What an in-VM switch is made of.
#[derive(Debug)]
pub struct FlowSetup<'a> {
    /// The memory of the table, and of the records: as long as [`FlowSetup::lens`] says, all 0.
    pub memory: (PeerSlice<'static>, PeerSlice<'static>),
    /// A number that nobody can guess.
    pub seed: [u64; 2],
    /// The text of [`FlowsConfig::file`], if there is one.
    pub file: Option<&'a str>,
    /// The host has a full switch outside.
    pub has_outside: bool,
}

impl FlowSetup<'_> {
    /// Returns the length in bytes of the memory of table and records.
    ///
    /// # Errors
    /// [`SetupError::Room`].
    pub fn lens(config: &FlowsConfig) -> Result<(u64, u64), SetupError> {
        let shape = shape(config);
        FlowMemory::lens(shape).ok_or(SetupError::Room(shape))
    }
}

const fn shape(config: &FlowsConfig) -> Shape {
    Shape { entries: config.entries as u32, lists: config.lists as u32 }
}

/// What has to be done about the windows of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// Close them, and call [`FlowSwitches::closed`] when no call is under way in them any more.
    Close,
    /// They may be open.
    Open,
}

/// A frame for a full switch outside of this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The port that it came in by.
    pub port: u16,
    /// Its number, for [`FlowSwitches::decide`].
    pub number: u64,
    /// The frame with what its sender left to the device: its checksum is complete, or it is cut into segments. None if
    /// that can't be done.
    pub frames: Vec<Vec<u8>>,
}

/// The full switches.
#[derive(Debug)]
enum Full {
    Learning(Learning),
    Rules(Rules),
    /// One outside, and the frames for it.
    Outside(Vec<Outgoing>),
}

/// Largest number of frames that wait for a full switch outside; more are dropped.
const MOST_OUTGOING: usize = 1024;
/// Time after which a full switch outside sees a frame of a flow in use again: a tenth of what Open vSwitch keeps flows
/// for that nobody uses.
const REFRESH: u64 = 1_000_000_000;

/// One in-VM switch.
#[derive(Debug)]
struct FlowSwitch {
    table: FlowTable<'static>,
    full: Full,
    /// The number up to which all is decided, if the VM does not know it.
    decided: Option<u64>,
    /// Time at which flows that are not used are looked for.
    sweep: u64,
}

/// The in-VM switches of all VMs, by id.
#[derive(Debug, Default)]
pub struct FlowSwitches(Vec<Option<FlowSwitch>>);

impl FlowSwitches {
    /// Returns no switches, for a host with `vms` VMs.
    pub fn new(vms: usize) -> Self {
        Self((0..vms).map(|_| None).collect())
    }

    /// Adds the switch that `manifest` has for VM `id`.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn add(&mut self, manifest: &Manifest, id: usize, setup: FlowSetup<'_>) -> Result<(), SetupError> {
        let Some(config) = manifest.vms.get(id).and_then(|vm| vm.flows.as_ref()) else { return Ok(()) };
        let (peers, senders): (Vec<_>, Vec<_>) = (manifest.peers_of(id).collect(), manifest.senders_to(id).collect());
        let ports = SwitchPorts::new(&peers, &senders, |id| &manifest.vms[id].name);
        self.put(id, (config, manifest.ageing_ticks), &ports, setup)
    }

    /// Makes `config` the switch of VM `id`, between `ports`. If its full switch learns addresses, it forgets one from
    /// which no frame came for `ageing`.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn put(
        &mut self,
        id: usize,
        (config, ageing): (&FlowsConfig, u64),
        ports: &SwitchPorts<'_>,
        setup: FlowSetup<'_>,
    ) -> Result<(), SetupError> {
        let shape = shape(config);
        let (table, records) = setup.memory;
        let mut header = ports.header(shape, setup.seed);
        header.refresh = if config.folder.is_some() { REFRESH } else { 0 };
        let memory = FlowMemory::create(table, records, header)?;
        let limits = Limits { lease: config.lease_ticks, revoke: config.revoke_ticks, idle: config.idle_ticks };
        let full = match (config.file(), setup.file) {
            (Some(_), Some(text)) => Full::Rules(ports.rules(config, text)?),
            (None, _) if config.switch == "learning" => Full::Learning(Learning::new(ports.outputs(), ageing)),
            (None, _) if setup.has_outside => Full::Outside(Vec::new()),
            _ => return Err(SetupError::Switch(config.switch.clone())),
        };
        let switch = FlowSwitch { table: FlowTable::new(memory, limits)?, full, decided: None, sweep: 0 };
        if let Some(place) = self.0.get_mut(id) {
            *place = Some(switch);
        }
        Ok(())
    }

    /// Puts the switches into another order: each was at the place that `before` has, or is not there yet. The others
    /// end.
    pub fn reorder(&mut self, before: &[Option<usize>]) {
        let mut old = core::mem::take(&mut self.0);
        self.0 = before.iter().map(|before| before.and_then(|before| old.get_mut(before)?.take())).collect();
    }

    /// Takes over the switches of `new`, each at its place.
    pub fn join(&mut self, new: Self) {
        let places = self.0.len().max(new.0.len());
        self.0.resize_with(places, || None);
        for (place, switch) in self.0.iter_mut().zip(new.0) {
            *place = switch.or(place.take());
        }
    }

    /// Notes that VM `vm` starts at time `now`, with windows.
    pub fn start(&mut self, vm: u32, now: u64) {
        if let Some(switch) = self.get_mut(vm) {
            switch.decided = None;
            switch.table.start(now);
        }
    }

    /// Notes that VM `vm` ended: it has no windows any more.
    pub fn end(&mut self, vm: u32) {
        if let Some(switch) = self.get_mut(vm) {
            switch.table.end();
        }
    }

    /// Notes that the windows of VM `vm` are closed.
    pub fn closed(&mut self, vm: u32, now: u64) {
        if let Some(switch) = self.get_mut(vm) {
            switch.table.closed(now);
        }
    }

    /// Returns the frames of VM `vm` for a full switch outside, each once.
    pub fn outgoing(&mut self, vm: u32) -> Vec<Outgoing> {
        match self.get_mut(vm).map(|switch| &mut switch.full) {
            Some(Full::Outside(frames)) => core::mem::take(frames),
            _ => Vec::new(),
        }
    }

    /// Notes that the full switch outside is done with all frames of VM `vm` up to `number`: what it made of them was
    /// returned.
    pub fn decide(&mut self, vm: u32, number: u64) {
        if let Some(switch) = self.get_mut(vm) {
            switch.decided = Some(number);
        }
    }

    /// Returns whether any VM has a switch.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Looks after the tables of all VMs: leases, what is done, flows that are not used. Calls `act` for each VM whose
    /// windows have to change.
    pub fn turn(&mut self, now: u64, mut act: impl FnMut(u32, Windows)) {
        for (vm, switch) in (0..).zip(&mut self.0) {
            if let Some(windows) = switch.as_mut().and_then(|switch| switch.turn(now)) {
                act(vm, windows);
            }
        }
    }

    /// Returns what is to be said of the table of VM `vm` at time `now`, by name: what it holds, what was counted for
    /// all its flows, and what the in-VM switch counted, as its VM says, as far as that is not 0.
    pub fn numbers(&mut self, vm: u32, now: u64) -> Option<Vec<(&'static str, u64)>> {
        let table = self.table_mut(vm)?;
        table.collect_all();
        let ([epoch, done], Counts { packets, bytes, .. }) = (table.epochs(), table.total());
        let (entries, age, lease, lies) = (table.len() as u64, table.age(now), table.lease_left(now), table.lies());
        let of_table = [
            ("entries", entries),
            ("epoch", epoch),
            ("done", done),
            ("age", age),
            ("lease", lease),
            ("packets", packets),
            ("bytes", bytes),
            ("lies", lies),
        ];
        let of_switch = SwitchStats::copied(table.memory().counters()).filter(|(_, count)| *count > 0);
        Some(of_table.into_iter().chain(of_switch).collect())
    }

    /// Returns the line that is said of the table of VM `vm`, which is called `name`, at time `now`.
    pub fn line(&mut self, vm: u32, name: &str, now: u64) -> Option<String> {
        let mut line = format!("flows {name}");
        for (name, count) in self.numbers(vm, now)? {
            // Writing to a String does not fail.
            let _ = write!(line, " {name}={count}");
        }
        Some(line)
    }

    /// Returns the flow table of VM `vm`.
    pub fn table(&self, vm: u32) -> Option<&FlowTable<'static>> {
        self.0.get(vm as usize)?.as_ref().map(|switch| &switch.table)
    }

    /// Returns the flow table of VM `vm`, for changes.
    pub fn table_mut(&mut self, vm: u32) -> Option<&mut FlowTable<'static>> {
        self.get_mut(vm).map(|switch| &mut switch.table)
    }

    fn get_mut(&mut self, vm: u32) -> Option<&mut FlowSwitch> {
        self.0.get_mut(vm as usize)?.as_mut()
    }
}

impl FlowSwitch {
    fn turn(&mut self, now: u64) -> Option<Windows> {
        let Self { table, full, .. } = self;
        let turn = table.turn(now);
        if now >= self.sweep {
            self.sweep = now.saturating_add(table.limits().idle / 4);
            table.collect_all();
            table.order();
            // One outside knows itself which flows are used.
            if !matches!(full, Full::Outside(_)) {
                remove_unused(table, full, now);
            }
        }
        match turn {
            _ if turn.close => Some(Windows::Close),
            _ if turn.open => Some(Windows::Open),
            _ => None,
        }
    }
}

/// Removes the flows that were not used for a while.
fn remove_unused(table: &mut FlowTable<'_>, full: &mut Full, now: u64) {
    if let Full::Learning(learning) = full {
        learning.age(table, now);
    }
    // Under pressure a flow has less time.
    let is_full = table.len() >= table.memory().shape().entries as usize / 8 * 7;
    let idle = if is_full { table.limits().idle / 16 } else { table.limits().idle };
    table.remove_all(|flow| now.saturating_sub(flow.used().min(now)) > idle);
    table.publish();
}

/// Keeps a frame for a full switch outside.
fn keep(frames: &mut Vec<Outgoing>, missed: &Missed<'_>) {
    if frames.len() < MOST_OUTGOING {
        let whole = missed.done().unwrap_or_default();
        frames.push(Outgoing { port: missed.port, number: missed.number, frames: whole });
    }
}

impl SlowPath for FlowSwitches {
    fn missed(&mut self, missed: &Missed<'_>, now: u64) -> Answer {
        let Some(switch) = self.get_mut(missed.vm) else { return Answer::Nothing };
        if let Full::Outside(frames) = &mut switch.full {
            keep(frames, missed);
            return Answer::Nothing;
        }
        switch.decided = Some(missed.number);
        let mut head = [0; HEAD];
        let head = &mut head[..(missed.frame.len() as usize).min(HEAD)];
        let (Ok(()), Ok(len)) = (missed.frame.copy_to_slice(0, head), u16::try_from(missed.frame.len())) else {
            return Answer::Nothing;
        };
        let FlowSwitch { table, full, .. } = switch;
        match full {
            Full::Learning(learning) => learning.missed(table, missed.port, head, now),
            Full::Rules(rules) => rules.missed(table, missed.port, (head, len), now),
            Full::Outside(_) => Answer::Nothing,
        }
    }

    fn decided(&mut self, vm: u32) -> Option<u64> {
        self.get_mut(vm)?.decided.take()
    }
}
