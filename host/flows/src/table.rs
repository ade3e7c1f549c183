//! One VM's flow table, on the host's side: what is in it, what is done, and how much each flow was used.
//!
//! A change is *done* when the VM can't use what it removed any more: it has reported a later epoch, or its windows
//! were closed. [`FlowTable::turn`] says when they have to be closed, and when they may be open again: a VM that does
//! not report in time loses its windows, and the host no time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use sluice_memory::CacheLine;
use sluice_switch::{
    ActionList, Counts, EntryId, FlowMemory, Key, Ledger, Mask, Quiescence, Seed, ShapeError, TableError, Writer,
};

/// The number of the one reader.
const READER: u32 = 0;

/// Times in the unit of the host's clock.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time after which the VM uses no entry any more if the host is silent.
    pub lease: u64,
    /// Time after which the VM loses its windows if it does not report.
    pub revoke: u64,
    /// Time after which a flow that is not used is removed.
    pub idle: u64,
}

/// A flow of the table.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// The name of the flow.
    pub id: EntryId,
    /// The key, without the bits that do not count.
    pub key: Key,
    /// The bits that count.
    pub mask: Mask,
    /// The actions.
    pub actions: ActionList,
    /// Time at which the flow was added.
    pub since: u64,
    /// What was counted for the flow, as its VM says, when it was asked last.
    pub counts: Counts,
}

impl Flow {
    /// Returns the time at which the flow was used last, or was added.
    pub fn used(&self) -> u64 {
        self.counts.used.max(self.since)
    }
}

/// What a turn found.
#[derive(Debug, Default)]
pub struct Turn {
    /// Flows that are removed for good, with all that was counted for them.
    pub ended: Vec<Flow>,
    /// The VM's windows must be closed: [`FlowTable::closed`] follows.
    pub close: bool,
    /// The VM's windows may be open again.
    pub open: bool,
}

/// What is known of the VM.
#[derive(Debug)]
enum Reader {
    /// There is none: it ended.
    Gone,
    /// It has windows.
    Open,
    /// It has none until it reports again.
    Closed,
}

/// The table of one VM.
#[derive(Debug)]
pub struct FlowTable<'m> {
    memory: FlowMemory<'m>,
    writer: Writer<'m>,
    quiescence: Quiescence<&'m CacheLine>,
    /// The reader while its windows are closed: nobody waits for it.
    closed: Quiescence<&'m CacheLine>,
    ledger: Ledger<'m>,
    limits: Limits,
    reader: Reader,
    flows: BTreeMap<u32, Flow>,
    /// Flows that were removed, and are not done, by their entries.
    dying: BTreeMap<u32, Flow>,
    /// What was counted for flows that are done.
    gone: Counts,
    /// Number of polls that found a report word that no honest VM writes.
    lies: u64,
    changed: bool,
    /// The full switch is away, so that the lease is not renewed.
    is_silent: bool,
    /// The lease ends then.
    until: u64,
    /// The epoch that is done.
    done: u64,
    /// The epoch that the last turn found, and when one found it first.
    found: (u64, u64),
}

impl<'m> FlowTable<'m> {
    /// Returns the table in `memory`, which is new. Its VM has not started.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn new(memory: FlowMemory<'m>, limits: Limits) -> Result<Self, ShapeError> {
        let writer = Writer::new(memory.table(), memory.shape(), Seed::new(memory.header().seed))?;
        Ok(Self {
            writer,
            quiescence: Quiescence::default(),
            closed: Quiescence::default(),
            ledger: Ledger::new(memory.records()),
            memory,
            limits,
            reader: Reader::Gone,
            flows: BTreeMap::new(),
            dying: BTreeMap::new(),
            gone: Counts::default(),
            lies: 0,
            changed: false,
            is_silent: false,
            until: 0,
            done: 0,
            found: (0, 0),
        })
    }

    /// Notes that the VM starts at time `now`, with windows. What an earlier life of it wrote is forgotten.
    pub fn start(&mut self, now: u64) {
        let lines = [self.memory.report()].into_iter().chain(self.memory.counters()).chain(self.memory.records());
        lines.flat_map(CacheLine::words).for_each(|word| word.store(0, core::sync::atomic::Ordering::Relaxed));
        self.ledger.restart(self.memory.records());
        self.quiescence.join(READER, self.memory.report(), self.writer.epoch(), now);
        self.reader = Reader::Open;
        self.renew(now);
    }

    /// Notes that the VM ended: it has no windows any more.
    pub fn end(&mut self) {
        self.collect_all();
        self.quiescence.leave(READER);
        self.closed.leave(READER);
        self.reader = Reader::Gone;
    }

    /// Notes at time `now` that the VM's windows are closed.
    pub fn closed(&mut self, now: u64) {
        self.quiescence.leave(READER);
        self.closed.join(READER, self.memory.report(), self.writer.epoch(), now);
        self.reader = Reader::Closed;
    }

    /// Notes whether the full switch is away: then flows go on until the lease ends.
    pub const fn set_silent(&mut self, is_silent: bool) {
        self.is_silent = is_silent;
    }

    /// Returns the memory of the table.
    pub const fn memory(&self) -> &FlowMemory<'m> {
        &self.memory
    }

    /// Returns the limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Adds a flow, with the next [`FlowTable::publish`].
    ///
    /// # Errors
    /// [`TableError`].
    pub fn insert(&mut self, key: &Key, mask: &Mask, actions: &ActionList, now: u64) -> Result<EntryId, TableError> {
        let id = self.writer.insert(key, mask, actions)?;
        let key = key.masked(mask.key());
        let flow = Flow { id, key, mask: *mask, actions: *actions, since: now, counts: Counts::default() };
        self.flows.insert(id.index(), flow);
        self.changed = true;
        Ok(id)
    }

    /// Removes a flow, with the next [`FlowTable::publish`]. Returns whether there was one.
    pub fn remove(&mut self, id: EntryId) -> bool {
        let there = self.writer.remove(id);
        if there && let Some(flow) = self.flows.remove(&id.index()) {
            self.dying.insert(id.index(), flow);
            self.changed = true;
        }
        there
    }

    /// Removes the flows that `goes` names. Returns how many.
    pub fn remove_all(&mut self, goes: impl Fn(&Flow) -> bool) -> usize {
        let ids: Vec<_> = self.flows.values().filter(|flow| goes(flow)).map(|flow| flow.id).collect();
        ids.into_iter().filter(|&id| self.remove(id)).count()
    }

    /// Makes all changes since the last call visible at once. Returns the epoch that they are of.
    pub fn publish(&mut self) -> u64 {
        if core::mem::take(&mut self.changed) { self.writer.publish() } else { self.writer.epoch() }
    }

    /// Returns whether the changes of `epoch` are done.
    pub const fn is_done(&self, epoch: u64) -> bool {
        self.done >= epoch
    }

    /// Returns the number of the epoch that was published last, and of the one that is done.
    pub const fn epochs(&self) -> [u64; 2] {
        [self.writer.epoch(), self.done]
    }

    /// Returns the age of the epoch at time `now`, since the first turn that found it.
    pub const fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.found.1)
    }

    /// Returns the time that the lease goes on at time `now`.
    pub const fn lease_left(&self, now: u64) -> u64 {
        self.until.saturating_sub(now)
    }

    /// Returns the flows, with the counts of the last [`FlowTable::collect_all`].
    pub fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.flows.values()
    }

    /// Returns whether there is a flow of this name.
    pub fn has(&self, id: EntryId) -> bool {
        self.flows.get(&id.index()).is_some_and(|flow| flow.id == id)
    }

    /// Returns the number of flows.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Returns whether the table has no flow.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Asks what was counted for each flow. What a VM says that runs backwards is not believed.
    pub fn collect_all(&mut self) {
        for flow in self.flows.values_mut() {
            flow.counts = self.ledger.collect(flow.id).unwrap_or(flow.counts);
        }
    }

    /// Returns what was counted for all flows that there were, with the counts of the last [`FlowTable::collect_all`].
    /// Flows that were removed count when that is done.
    pub fn total(&self) -> Counts {
        self.flows.values().fold(self.gone, |all, flow| all.and(flow.counts))
    }

    /// Returns the number of polls that found a report word that no honest VM writes.
    pub const fn lies(&self) -> u64 {
        self.lies
    }

    /// Has the masks looked up first whose flows are used most, by the counts of the last [`FlowTable::collect_all`].
    pub fn order(&mut self) {
        let flows = &self.flows;
        let hits = |mask: &Mask| {
            let packets = flows.values().filter(|flow| flow.mask == *mask).map(|flow| flow.counts.packets);
            packets.fold(0, u64::saturating_add)
        };
        self.writer.order(hits);
    }

    /// Renews the lease, and finds out at time `now` what is done.
    pub fn turn(&mut self, now: u64) -> Turn {
        self.renew(now);
        let mut turn = Turn::default();
        let epoch = self.writer.epoch();
        if self.found.0 != epoch {
            self.found = (epoch, now);
        }
        let reported = self.quiescence.poll(epoch, now, |_, _| self.lies += 1);
        match self.reader {
            Reader::Open => turn.close = self.quiescence.overdue(now, self.limits.revoke).next().is_some(),
            Reader::Closed => turn.open = self.is_back(epoch, now),
            Reader::Gone => {}
        }
        self.done = reported;
        let Self { writer, ledger, dying, gone, .. } = self;
        for id in writer.dead(reported) {
            let Some(flow) = dying.remove(&id.index()) else { continue };
            let counts = ledger.collect(id).unwrap_or(flow.counts);
            *gone = gone.and(counts);
            turn.ended.push(Flow { counts, ..flow });
        }
        self.writer.reclaim(reported);
        turn
    }

    /// Returns whether the VM, whose windows are closed, is in no burst of before: it has them again then.
    fn is_back(&mut self, epoch: u64, now: u64) -> bool {
        self.closed.poll(epoch, now, |_, _| {});
        if self.closed.reported(READER).is_none_or(|reported| reported < epoch) {
            return false;
        }
        self.closed.leave(READER);
        self.quiescence.join(READER, self.memory.report(), epoch, now);
        self.reader = Reader::Open;
        true
    }

    /// Lets the lease go on, in time before its end.
    fn renew(&mut self, now: u64) {
        if !self.is_silent && self.lease_left(now) < self.limits.lease / 2 {
            self.until = now.saturating_add(self.limits.lease);
            self.writer.lease(self.until);
        }
    }
}
