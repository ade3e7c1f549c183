//! The host of the process that is the switch, and the receivers.

use crate::life::Life;
use crate::memory::{Pace, Shared, now, word};
use crate::seen::Seen;
use crate::switch::{NUMBER, frame};
use crate::world::{Receiver, World};
use rustix::fd::OwnedFd;
use sluice::{Frame, MAX_BURST, RX_SIZE, Receive, RingFormat};
use sluice_flows::{Flow, FlowTable, Limits};
use sluice_switch::{Action, ActionList, BURST, EntryId, Key, Mask, Parsed, SwitchStats};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;
/// Time after which a switch that does not report is killed.
pub const REVOKE: u64 = 5 * MS;
/// Most changes that are under way at once: a flow's two buckets have room for more.
const UNDER_WAY: usize = 8;
/// Time between two looks at the rings at [`Pace::Flood`], so that they are full.
const PAUSE: u64 = 2 * MS;
// One burst empties a ring.
const _: () = assert!(MAX_BURST >= RX_SIZE);

/// A change that is not done.
struct Pending {
    /// The epoch that it opened.
    epoch: u64,
    /// The number of the entry that it removed, and its name.
    number: u64,
    id: EntryId,
    /// When it was made.
    since: u64,
}

/// What is known of an entry.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Frames that came by it.
    frames: u64,
    /// Switches that were killed in its time.
    kills: u64,
}

/// The host, and the receivers.
pub struct Host {
    name: String,
    pace: Pace,
    shared: Shared,
    file: OwnedFd,
    table: FlowTable<'static>,
    world: World,
    receivers: [Receiver; 2],
    life: Life,
    /// When the switch is to go on, if it is stopped.
    stopped: Option<u64>,
    next_stop: u64,
    next_take: u64,
    random: u64,
    /// The number of the present entry, and its name.
    number: u64,
    id: EntryId,
    pending: VecDeque<Pending>,
    /// The entries that may still be used, by number.
    known: BTreeMap<u64, Known>,
    /// Frames of this life that were taken, and the number of the last one at each receiver.
    taken: u64,
    last: [Option<u64>; 2],
    /// What the switch counted in earlier lives, as far as it said so.
    earlier: BTreeMap<&'static str, u64>,
    pub seen: Seen,
    /// How long each change took in nanoseconds.
    pub waits: Vec<u64>,
}

/// Adds entry `number` for all frames: to b if the number is even, to c if it is odd.
fn insert(table: &mut FlowTable<'_>, number: u64) -> EntryId {
    let mark: [u8; 6] = number.to_be_bytes()[2..].try_into().expect("6 bytes");
    let list = [Action::SetSource(mark), Action::SetDestination(mark), Action::Output((number % 2) as u16)];
    let list = ActionList::new(&list, 2).expect("a list");
    let mask = Mask::closed(Key { protocol: 0xff, destination_port: 0xffff.into(), ..Key::default() });
    let key = Parsed::of(0, &frame(0), 60).key;
    table.insert(&key, &mask, &list, now()).expect("room for a few changes")
}

fn receivers(world: &World) -> [Receiver; 2] {
    [0, 1].map(|place| world.receiver(place, RingFormat::default(), 512))
}

impl Host {
    /// Starts a switch in the place of test `name`.
    pub fn new(name: &str, pace: Pace, lease: u64) -> Self {
        let (shared, file) = Shared::new();
        let world = World::within(1500, shared.directory, shared.slot);
        let limits = Limits { lease, revoke: REVOKE, idle: u64::MAX };
        let mut table = FlowTable::new(shared.create_flows(), limits).expect("a table");
        let id = insert(&mut table, 0);
        table.publish();
        table.start(now());
        shared.words.words()[word::PACE].store(pace as u64, Relaxed);
        let receivers = receivers(&world);
        Self {
            life: Life::start(name, &file),
            name: name.to_owned(),
            pace,
            shared,
            file,
            table,
            receivers,
            world,
            stopped: None,
            next_stop: 0,
            next_take: 0,
            random: now() | 1,
            number: 0,
            id,
            pending: VecDeque::new(),
            known: BTreeMap::from([(0, Known::default())]),
            taken: 0,
            last: [None; 2],
            earlier: BTreeMap::new(),
            seen: Seen::default(),
            waits: Vec::new(),
        }
    }

    /// Returns a number below `below`: xorshift, see G. Marsaglia, "Xorshift RNGs".
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// Replaces the entry by one to the other receiver, unless too many changes are under way.
    pub fn change(&mut self) -> bool {
        if self.pending.len() >= UNDER_WAY {
            return false;
        }
        let (number, id) = (self.number, self.id);
        assert!(self.table.remove(id));
        self.number += 1;
        self.id = insert(&mut self.table, self.number);
        self.known.insert(self.number, Known::default());
        let epoch = self.table.publish();
        self.pending.push_back(Pending { epoch, number, id, since: now() });
        self.seen.changes += 1;
        true
    }

    /// Returns whether a change is not done.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Finds out what is done, and takes what came. A switch that does not report in time is killed and started again.
    pub fn turn(&mut self) {
        if self.stopped.is_some_and(|until| now() >= until) {
            self.go_on();
        }
        self.life.check();
        let turn = self.table.turn(now());
        assert_eq!(self.table.lies(), 0, "the switch said what it may not say");
        self.done(&turn.ended);
        if turn.close {
            self.kill();
        }
    }

    /// Takes what came by entries that are done now. Their frames are as many as were counted, and no more come.
    fn done(&mut self, ended: &[Flow]) {
        let is_done = self.pending.front().is_some_and(|change| self.table.is_done(change.epoch));
        if self.pace == Pace::Window || is_done || now() >= self.next_take {
            self.take();
            self.next_take = now() + PAUSE;
        }
        let mut ended = ended.iter();
        while let Some(change) = self.pending.pop_front_if(|change| self.table.is_done(change.epoch)) {
            self.waits.push(now() - change.since);
            let flow = ended.next().expect("the flow of a change that is done");
            assert_eq!(flow.id, change.id);
            let Known { frames, kills } = self.known.remove(&change.number).expect("the entry");
            let counted = flow.counts.packets;
            // A killed switch had not counted its last burst.
            let lost = frames.saturating_sub(counted);
            assert!(lost <= kills * BURST as u64, "entry {}: {frames} frames, {counted} counted", change.number);
            let is_exact = self.pace == Pace::Flood || counted <= frames;
            assert!(is_exact, "entry {}: {frames} frames, {counted} counted", change.number);
            self.seen.lost += lost;
        }
        assert!(ended.next().is_none(), "a flow ended before its change was done");
    }

    /// Takes the frames that came. Returns how many.
    pub fn take(&mut self) -> u64 {
        let before = self.taken;
        for place in 0..self.receivers.len() {
            let Receiver { net, pool } = &mut self.receivers[place];
            let mut burst = pool.burst();
            net.rx_burst(&mut burst, MAX_BURST).expect("an honest device side");
            burst.frames().for_each(|frame| self.frame(place, &frame));
        }
        self.shared.words.words()[word::TAKEN].store(self.taken, Relaxed);
        self.seen.frames += self.taken - before;
        self.taken - before
    }

    /// Notes a frame that came at the receiver at `place`.
    fn frame(&mut self, place: usize, frame: &Frame<'_>) {
        let head: [u8; 12] = frame.head(0).expect("addresses");
        let number = u64::from_be_bytes(frame.head(NUMBER).expect("a number"));
        let entry = head[..6].iter().fold(0, |entry, byte| entry << 8 | u64::from(*byte));
        assert_eq!(head[..6], head[6..], "a frame of two entries");
        let known = self.known.get_mut(&entry);
        let known = known.unwrap_or_else(|| panic!("a frame came by entry {entry} of {}, which is gone", self.number));
        known.frames += 1;
        assert_eq!(entry as usize % 2, place, "entry {entry}");
        assert!(self.last[place].replace(number) < Some(number), "frame {number} came late, or again");
        self.taken += 1;
    }

    /// Takes frames for `time`, and does nothing else. Returns how many came.
    pub fn take_during(&mut self, time: u64) -> u64 {
        let (end, mut taken) = (now() + time, 0);
        while now() < end {
            taken += self.take();
        }
        taken
    }

    /// Looks after the table for `time`.
    pub fn run(&mut self, time: u64) {
        let end = now() + time;
        while now() < end {
            self.turn();
        }
    }

    /// Waits until all changes are done.
    pub fn settle(&mut self) {
        while self.is_pending() {
            self.turn();
        }
        assert!(self.seen.lost <= self.seen.kills * BURST as u64, "{:?}", self.seen);
    }

    /// Ends the switch, and starts another one.
    fn kill(&mut self) {
        self.life.end();
        self.stopped = None;
        self.seen.kills += 1;
        self.earlier = self.counters().collect();
        self.table.end();
        self.known.values_mut().for_each(|known| known.kills += 1);
        let turn = self.table.turn(now());
        self.done(&turn.ended);
        assert!(!self.is_pending(), "a change waits for a switch that ended");
        // The positions in the rings were memory of the process that ended, so the receivers start their devices anew.
        self.receivers = receivers(&self.world);
        (self.taken, self.last) = (0, [None; 2]);
        self.shared.words.words()[word::TAKEN].store(0, Relaxed);
        self.table.start(now());
        self.life = Life::start(&self.name, &self.file);
    }

    /// Kills the switch now and then, or stops it, for at most 4 ms or longer than it may be.
    pub fn stop_at_random(&mut self) {
        if self.stopped.is_some() || now() < self.next_stop {
            return;
        }
        if self.random(16) == 0 {
            self.kill();
            self.next_stop = now() + 5 * MS;
            return;
        }
        let most = if self.random(32) == 0 { 20 * MS } else { 4 * MS };
        let time = self.random(most);
        self.life.stop();
        self.seen.stops += 1;
        self.stopped = Some(now() + time);
        self.next_stop = now() + time + self.random(5 * MS);
    }

    /// Stops the switch for good unless it is at rest: then it goes on. Returns whether it stays stopped.
    pub fn stop_unless_at_rest(&mut self) -> bool {
        self.life.stop();
        self.seen.stops += 1;
        // The report word is 0 at rest, and else an epoch, or that it woke up: also between two bursts.
        let is_at_rest = self.table.memory().report().words()[0].load(Relaxed) == 0;
        self.stopped = Some(if is_at_rest { 0 } else { u64::MAX });
        !is_at_rest
    }

    fn go_on(&mut self) {
        self.life.go_on();
        self.stopped = None;
    }

    /// Returns what the switch counted, as far as it said so.
    fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let now = SwitchStats::copied(self.table.memory().counters());
        now.map(|(name, count)| (name, count + self.earlier.get(name).unwrap_or(&0)))
    }

    /// Returns the counter `name` of the switch.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters().find(|(known, _)| *known == name).expect("a counter").1
    }
}
