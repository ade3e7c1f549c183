//! Open vSwitch behind an in-VM switch: frames go there and come back, and its flows are those of the VM's table.

mod rules;
mod waiting;

use crate::console::Console;
use rules::Rules;
use rustix::event::PollFlags;
use sluice_control::{Manifest, VmConfig};
use sluice_flows::{FlowSwitches, FlowTable, Outgoing};
use sluice_openvswitch::{Change, Config, DatapathFlow, Error, OpenVswitch, PortConfig, Refusal, Sent, Token, Ufid};
use sluice_switch::{Counts, EntryId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use waiting::Waiting;

/// How often the flows of Open vSwitch are read.
const PERIOD: Duration = Duration::from_millis(20);
/// Time after which a token counts as lost.
const LOST: Duration = Duration::from_millis(500);
/// Largest number of frames that are received from each port in one turn.
const FRAMES: usize = 64;
/// Largest number of frames that are received from each port behind a token: more than its socket holds and was read.
const DRAINED: usize = 8_192;
/// Largest number of refused flows that are named.
const NAMED: u64 = 64;
/// Largest number of groups of frames with tokens of their own; more frames wait for the last of them.
const GROUPS: usize = 64;

/// Frames that Open vSwitch was given, up to a number, and the tokens behind them.
struct Group {
    number: u64,
    /// The ports that still need a token behind what they were given.
    ports: BTreeSet<u16>,
    /// The tokens that are under way, and by which port each went.
    tokens: BTreeMap<Token, u16>,
    /// When the last token went.
    since: Instant,
}

impl Group {
    fn new() -> Self {
        Self { number: 0, ports: BTreeSet::new(), tokens: BTreeMap::new(), since: Instant::now() }
    }

    /// Adds frames up to `number`, which `ports` were given.
    fn add(&mut self, bridge: &mut OpenVswitch, number: u64, ports: BTreeSet<u16>) {
        self.number = number;
        self.give_up(bridge, |port| ports.contains(&port));
        self.ports.extend(ports);
    }

    /// Waits no longer for the tokens that went by ports that `which` names: these ports need others. Returns whether
    /// there were any.
    fn give_up(&mut self, bridge: &mut OpenVswitch, which: impl Fn(u16) -> bool) -> bool {
        let before = self.tokens.len();
        for (token, port) in self.tokens.extract_if(.., |_, port| which(*port)) {
            bridge.give_up(token);
            self.ports.insert(port);
        }
        self.tokens.len() < before
    }

    /// Sends the tokens that are needed. A port that is down has nothing to wait for; one that has no room for a token
    /// is asked again by the next call.
    fn ask(&mut self, bridge: &mut OpenVswitch) {
        for port in std::mem::take(&mut self.ports) {
            match bridge.fence(port) {
                Ok(Some(token)) => {
                    self.tokens.insert(token, port);
                    self.since = Instant::now();
                }
                Ok(None) | Err(Error::NoPort(_)) => {}
                Err(_) => {
                    self.ports.insert(port);
                }
            }
        }
    }

    fn is_decided(&self) -> bool {
        self.ports.is_empty() && self.tokens.is_empty()
    }
}

/// The bridge behind one VM's in-VM switch.
pub struct Bridge {
    vm: u32,
    name: String,
    bridge: OpenVswitch,
    /// The rules that tokens need.
    rules: Rules,
    /// The last try to add them failed.
    lacks_rules: bool,
    /// The entry of each flow that has one.
    entries: BTreeMap<Ufid, EntryId>,
    waiting: Waiting,
    groups: VecDeque<Group>,
    /// Open vSwitch does not answer. At first nobody knows.
    is_away: Option<bool>,
    /// The ports that the bridge does not have.
    missing: Vec<String>,
    /// Frames that Open vSwitch did not take.
    dropped: u64,
    /// Frames of which the checksum, or the segments, can't be made.
    malformed: u64,
    /// How often a flow was refused.
    refused: u64,
}

impl Bridge {
    /// Returns the bridge behind the in-VM switch of VM `id`, if there is one.
    pub fn open(manifest: &Manifest, id: usize) -> Result<Option<Self>, Error> {
        let VmConfig { name, flows: Some(flows), .. } = &manifest.vms[id] else { return Ok(None) };
        let Some(folder) = flows.folder.as_ref().map(PathBuf::from) else { return Ok(None) };
        let ports = manifest.ports_of(id).into_iter().map(|(number, vm)| {
            let name = manifest.vms[vm].name.clone();
            PortConfig { number, socket: folder.join(&name), name }
        });
        let config = Config {
            control: folder.join("ovs-vswitchd.ctl"),
            bridge: flows.bridge.clone(),
            ports: ports.collect(),
            period: PERIOD,
            limits: Default::default(),
        };
        let bridge = OpenVswitch::open(&config)?;
        let management = folder.join(format!("{}.mgmt", flows.bridge));
        Ok(Some(Self {
            vm: id as u32,
            name: name.clone(),
            rules: Rules::new(&management, bridge.fence_rules()),
            lacks_rules: false,
            bridge,
            entries: BTreeMap::new(),
            waiting: Waiting::default(),
            groups: VecDeque::new(),
            is_away: None,
            missing: Vec::new(),
            dropped: 0,
            malformed: 0,
            refused: 0,
        }))
    }

    /// Returns the VM of the in-VM switch.
    pub const fn vm(&self) -> u32 {
        self.vm
    }

    /// Returns what to wait for.
    pub fn sources(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let flags = |writes: bool| if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        self.bridge.interest().map(move |(fd, writes)| (fd, flags(writes)))
    }

    /// Goes on with everything. Frames that come back go to `back`, with their ports by bits. Returns whether there are
    /// more.
    pub fn turn(
        &mut self,
        flows: &mut FlowSwitches,
        console: &mut Console<'_>,
        mut back: impl FnMut(u64, &[u8]),
    ) -> bool {
        self.send(flows);
        let mut receive = |bridge: &mut OpenVswitch, most| {
            bridge.receive(most, |port, frame| back(1u64.checked_shl(port.into()).unwrap_or(0), frame))
        };
        let mut is_busy = receive(&mut self.bridge, FRAMES);
        let tokens: BTreeSet<_> = self.bridge.fenced().collect();
        if !tokens.is_empty() {
            // A port that came up behind a token's start is not waited for, but has what was sent before the token.
            is_busy = receive(&mut self.bridge, DRAINED);
        }
        self.settle(&tokens, flows);
        self.follow(flows, console);
        self.keep_rules(console);
        is_busy
    }

    /// Returns the lines that are said of the bridge at the end: what the VM's table counted for each flow of Open
    /// vSwitch that was used, and sums.
    pub fn lines(&self, flows: &FlowSwitches) -> Vec<String> {
        let Self { name, entries, waiting, dropped, malformed, refused, .. } = self;
        let flows_of_table = flows.table(self.vm).into_iter().flat_map(FlowTable::flows);
        let counts: BTreeMap<_, _> = flows_of_table.map(|flow| (flow.id.index(), flow.counts)).collect();
        let mut lines = Vec::new();
        for (ufid, entry) in entries {
            let Some(Counts { packets: packets @ 1.., bytes, .. }) = counts.get(&entry.index()) else { continue };
            lines.push(format!("flow {name} {ufid} packets={packets} bytes={bytes}"));
        }
        let (mut packets, mut bytes) = (0_u64, 0_u64);
        for (_, counters) in self.bridge.flows() {
            (packets, bytes) = (packets.saturating_add(counters.packets), bytes.saturating_add(counters.bytes));
        }
        let (entries, waiting) = (entries.len(), waiting.len());
        lines.push(format!(
            "openvswitch {name} entries={entries} packets={packets} bytes={bytes} dropped={dropped} \
             malformed={malformed} waiting={waiting} refused={refused}"
        ));
        lines
    }

    /// Gives Open vSwitch what the VM has for it, and tokens behind that.
    fn send(&mut self, flows: &mut FlowSwitches) {
        let frames = flows.outgoing(self.vm);
        let Some(number) = frames.last().map(|frame| frame.number) else { return };
        let mut ports = BTreeSet::new();
        for Outgoing { port, frames, .. } in frames {
            self.malformed += u64::from(frames.is_empty());
            for frame in frames {
                match self.bridge.send(port, &frame) {
                    Ok(Sent::Queued) => _ = ports.insert(port),
                    _ => self.dropped += 1,
                }
            }
        }
        if self.groups.len() < GROUPS {
            self.groups.push_back(Group::new());
        }
        if let Some(group) = self.groups.back_mut() {
            group.add(&mut self.bridge, number, ports);
            group.ask(&mut self.bridge);
        }
    }

    /// Notes that the tokens `back` are back, and so which frames are decided.
    fn settle(&mut self, back: &BTreeSet<Token>, flows: &mut FlowSwitches) {
        let Self { bridge, groups, rules, .. } = self;
        for group in groups.iter_mut() {
            group.tokens.retain(|token, _| !back.contains(token));
            if group.since.elapsed() > LOST && group.give_up(bridge, |_| true) {
                // Perhaps somebody took the rules away.
                rules.want();
            }
            group.ask(bridge);
        }
        while let Some(group) = groups.pop_front_if(|group| group.is_decided()) {
            flows.decide(self.vm, group.number);
        }
    }

    /// Brings the table up to date with the flows of Open vSwitch.
    fn follow(&mut self, flows: &mut FlowSwitches, console: &mut Console<'_>) {
        let seen = match self.bridge.poll_flows(Instant::now()) {
            Ok(None) => return,
            Ok(Some(seen)) => seen,
            Err(error) => return self.away(flows, console, &error),
        };
        if self.is_away.replace(false) != Some(false) {
            self.rules.want();
            console.say(&format!("openvswitch {}: there", self.name));
        }
        if self.missing != self.bridge.missing() {
            self.missing = self.bridge.missing().to_vec();
            let names = if self.missing.is_empty() { "none" } else { &self.missing.join(", ") };
            console.say(&format!("openvswitch {}: ports that the bridge does not have: {names}", self.name));
        }
        let Some(table) = flows.table_mut(self.vm) else { return };
        table.set_silent(false);
        for change in seen.changes {
            let ufid = match &change {
                Change::Added(flow) | Change::Changed(flow) => flow.ufid,
                Change::Removed(ufid) | Change::Refused(ufid, _) => *ufid,
            };
            self.waiting.remove(ufid);
            if let Some(entry) = self.entries.remove(&ufid) {
                table.remove(entry);
            }
            match change {
                Change::Added(flow) | Change::Changed(flow) => self.insert(table, flow),
                // No frame of this VM's is of such a flow.
                Change::Refused(_, Refusal::InPort(_)) | Change::Removed(_) => {}
                Change::Refused(_, why) => {
                    self.refused = self.refused.saturating_add(1);
                    if self.refused <= NAMED {
                        console.say(&format!("openvswitch {}: flow {ufid}: {why}", self.name));
                    }
                }
            }
        }
        for flow in self.waiting.next_round() {
            self.insert(table, flow);
        }
        table.publish();
    }

    /// Gives the table a flow. One that it has no room for waits.
    fn insert(&mut self, table: &mut FlowTable<'_>, flow: DatapathFlow) {
        let DatapathFlow { ufid, key, mask, actions } = flow;
        match table.insert(&key, &mask, &actions, crate::flows::now()) {
            Ok(entry) => {
                self.waiting.remove(ufid);
                self.entries.insert(ufid, entry);
            }
            Err(_) => self.waiting.insert(flow),
        }
    }

    /// Has the rules of tokens added where they may be missing.
    fn keep_rules(&mut self, console: &mut Console<'_>) {
        if self.is_away != Some(false) {
            return;
        }
        let Self { name, rules, lacks_rules, groups, bridge, .. } = self;
        let Some(added) = rules.turn(Instant::now()) else { return };
        let was_known = std::mem::replace(lacks_rules, added.is_err());
        match added {
            // Tokens of before may be lost: others go at once.
            Ok(()) => groups.iter_mut().for_each(|group| _ = group.give_up(bridge, |_| true)),
            Err(error) if !was_known => console.say(&format!("openvswitch {name}: no rules for tokens: {error}")),
            Err(_) => {}
        }
    }

    /// Open vSwitch does not answer: flows go on until the lease ends.
    fn away(&mut self, flows: &mut FlowSwitches, console: &mut Console<'_>, error: &Error) {
        if let Some(table) = flows.table_mut(self.vm) {
            table.set_silent(true);
        }
        if self.is_away.replace(true) != Some(true) {
            console.say(&format!("openvswitch {}: away: {error}", self.name));
        }
    }
}
