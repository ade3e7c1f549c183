//! Where frames go: {service path identifier, service index} to a peer, by a table of 256 steps for each path.

mod way;

use crate::file::{Chain, ChainFile};
use crate::nsh::{AT, Direction, ETHER_TYPE, FIRST_INDEX, Nsh, Spi};
use crate::{Cause, Counts};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use sluice_vnf::{Burst, Frame, FrameMut};
use way::{Next, Step, Way};

/// Largest number of VMs that a machine may send to: a bit of a word each. One is left for a VM outside of the chains.
const MAX_SLOTS: usize = u64::BITS as usize - 1;

/// What is done with each frame whose header begins with `word`, while the same peers are there.
#[derive(Clone, Copy)]
struct Plan {
    word: u64,
    /// Frames are longer than this.
    longer_than: u16,
    way: u16,
    slot: u8,
    bypassed: u8,
    ends: bool,
    open: bool,
    new: Nsh,
}

/// A frame that is for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The header as it arrived.
    pub nsh: Nsh,
    /// The header to go on with.
    pub new: Nsh,
    /// Slot of the VM to go on to.
    pub slot: u8,
    /// The chain ends here: there is nothing to go on with.
    pub ends: bool,
    /// Frames may pass by this machine's own function while that is not there.
    pub open: bool,
    bypassed: u8,
}

/// Reasons for which a machine can't take part in a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// No chain of the file names the machine.
    #[error("no chain has a vm \"{0}\"")]
    Nobody(String),
    /// The version is another chain already. A change of a chain is a version more.
    #[error("chain \"{0}\": differs from the version that is served: a change needs another version")]
    Changed(String),
    /// The machine would send to too many VMs.
    #[error("chain \"{0}\": more than {MAX_SLOTS} vms to send to")]
    Slots(String),
}

/// The paths that a machine is on. VMs that it sends to have numbers, which are *slots* here.
pub struct Router {
    me: String,
    slots: Vec<String>,
    /// In the order of their identifiers.
    ways: Vec<Way>,
    /// What these are of.
    served: Vec<Chain>,
    /// A bit for each slot whose VM takes frames.
    ready: u64,
    last: Option<Plan>,
    strays: Counts,
}

impl Router {
    /// Returns the router of the machine named `me`, for all chains of `file` that it is in. No peer is ready yet.
    ///
    /// # Errors
    /// [`RouterError`].
    pub fn new(file: &ChainFile, me: &str) -> Result<Self, RouterError> {
        let (me, slots, ways, served) = (me.to_string(), Vec::new(), Vec::new(), Vec::new());
        let mut router = Self { me, slots, ways, served, ready: 0, last: None, strays: Counts::default() };
        router.add(file)?;
        if router.ways.is_empty() { Err(RouterError::Nobody(router.me)) } else { Ok(router) }
    }

    /// Adds the chains of `file` that are new. Those of before stay, for packets that are on their way. A version that
    /// is served never becomes another one, so each packet finds one version at all hops.
    ///
    /// # Errors
    /// [`RouterError`], with which nothing was added, unless there are too many VMs.
    pub fn add(&mut self, file: &ChainFile) -> Result<(), RouterError> {
        if let Some(changed) = file.chains.iter().find(|new| self.served.iter().any(|old| old.is_changed_in(new))) {
            return Err(RouterError::Changed(changed.name.clone()));
        }
        for chain in &file.chains {
            Direction::ALL.into_iter().try_for_each(|direction| self.add_way(chain, direction))?;
            if !self.served.contains(chain) {
                self.served.push(chain.clone());
            }
        }
        self.last = None;
        Ok(())
    }

    fn add_way(&mut self, chain: &Chain, direction: Direction) -> Result<(), RouterError> {
        let Some(way) = self.way(chain, direction)? else { return Ok(()) };
        if let Err(at) = self.ways.binary_search_by_key(&way.spi, |way| way.spi) {
            self.ways.insert(at, way);
        }
        Ok(())
    }

    /// Returns this machine's steps of `chain` in a direction; `None` if it has none.
    fn way(&mut self, chain: &Chain, direction: Direction) -> Result<Option<Way>, RouterError> {
        let stations = chain.stations(direction);
        let begins = chain.ends[usize::from(direction == Direction::Return)] == self.me;
        let here = stations.iter().position(|(vm, _)| *vm == self.me);
        let (mut steps, mut mask) = (Box::new([Step::Nowhere; 256]), 0);
        let index = |place: usize| usize::from(FIRST_INDEX) - place;
        match here {
            Some(place) if place + 1 == stations.len() => steps[index(place)] = Step::End,
            Some(place) => steps[index(place)] = Step::Here { open: stations[place].1 },
            None if begins => {}
            None => return Ok(None),
        }
        for (place, (vm, open)) in stations.iter().enumerate().skip(here.map_or(0, |place| place + 1)) {
            let slot = self.slot(vm).ok_or_else(|| RouterError::Slots(chain.name.clone()))?;
            (steps[index(place)], mask) = (Step::Peer { slot, open: *open }, mask | 1 << slot);
            if !open {
                break;
            }
        }
        let (place, all) = (here.map_or(1, |here| here + 2), stations.len() + 1);
        let name = alloc::format!("{} version {}, {}, {place} of {all}", chain.name, chain.version, direction.name());
        Ok(Some(Way { spi: chain.spi(direction), name, steps, mask, oam: chain.oam, counts: Counts::default() }))
    }

    fn slot(&mut self, vm: &str) -> Option<u8> {
        let known = self.slots.iter().position(|name| name == vm);
        let slot = known.unwrap_or(self.slots.len());
        if known.is_none() {
            self.slots.push(vm.to_string());
        }
        (slot < MAX_SLOTS).then_some(slot as u8)
    }

    /// Forgets a path, once no packet is on its way along it. Returns whether there was one.
    pub fn remove(&mut self, path: Spi) -> bool {
        self.last = None;
        let before = self.ways.len();
        self.ways.retain(|way| way.spi != path);
        let is_it = |chain: &Chain| Direction::ALL.iter().any(|direction| chain.spi(*direction) == path);
        self.served.retain(|chain| !is_it(chain));
        self.ways.len() < before
    }

    /// Returns the names of the VMs that this machine sends to, by slot.
    pub fn slots(&self) -> &[String] {
        &self.slots
    }

    /// Says whose VMs take frames: bit n for slot n.
    #[inline]
    pub fn set_ready(&mut self, ready: u64) {
        if ready != self.ready {
            (self.ready, self.last) = (ready, None);
        }
    }

    /// Returns whether nothing is left to do: each chain has a direction of which all VMs that this machine sends to
    /// are in `gone`.
    pub fn is_over(&self, gone: u64) -> bool {
        let is_dead = |way: &Way| way.mask != 0 && way.mask & !gone == 0;
        let same = |a: Spi, b: Spi| a.bits() << 9 == b.bits() << 9;
        self.ways.iter().all(|way| self.ways.iter().any(|other| same(way.spi, other.spi) && is_dead(other)))
    }

    /// Counts a frame that arrived, and returns what is to be done with it; `None` if it is to be dropped, which is
    /// counted, too. Nothing of the frame was changed.
    #[inline]
    pub fn arrive(&mut self, frame: &Frame<'_>) -> Option<Arrival> {
        let bytes = frame.bytes();
        if let (Some(plan), Ok(ether_type), Ok(word)) =
            (&self.last, bytes.read_own::<u16>(12), bytes.read_own::<u64>(AT.into()))
            && word == plan.word
            && ether_type == ETHER_TYPE.to_be()
            && frame.len() > plan.longer_than
            && let Some(way) = self.ways.get_mut(usize::from(plan.way))
        {
            way.counts.arrive(frame.len());
            return Some(plan.arrival());
        }
        self.arrive_anew(frame)
    }

    #[cold]
    fn arrive_anew(&mut self, frame: &Frame<'_>) -> Option<Arrival> {
        let found = Nsh::read(frame).map_err(|cause| (None, cause)).and_then(|nsh| self.plan(nsh));
        let (place, cause) = match &found {
            Ok(plan) => (Some(usize::from(plan.way)), None),
            Err((way, cause)) => (*way, Some(*cause)),
        };
        let counts = place.and_then(|way| self.ways.get_mut(way)).map_or(&mut self.strays, |way| &mut way.counts);
        counts.arrive(frame.len());
        cause.into_iter().for_each(|cause| counts.drop_one(cause));
        let plan = found.ok()?;
        self.last = Some(plan);
        Some(plan.arrival())
    }

    /// Returns what is to be done with frames whose header is `nsh`. The error has the path, if there is one.
    fn plan(&self, nsh: Nsh) -> Result<Plan, (Option<usize>, Cause)> {
        let found = self.ways.binary_search_by_key(&nsh.path(), |way| way.spi);
        let place = found.map_err(|_| (None, Cause::Path))?;
        let (way, wrong) = (&self.ways[place], |cause| (Some(place), cause));
        if nsh.is_oam() && !way.oam {
            return Err(wrong(Cause::Oam));
        }
        let (word, longer_than) = (nsh.0.to_be(), AT + nsh.len());
        let plan =
            Plan { word, longer_than, way: place as u16, slot: 0, bypassed: 0, ends: true, open: false, new: nsh };
        match way.steps[usize::from(nsh.index())] {
            Step::End => Ok(plan),
            Step::Here { open } => {
                let new = nsh.forwarded().map_err(wrong)?;
                let next = way.next(nsh.index().saturating_sub(1), self.ready).map_err(wrong)?;
                let Next { index, slot, bypassed } = next;
                Ok(Plan { new: new.with_index(index), slot, bypassed, ends: false, open, ..plan })
            }
            Step::Nowhere | Step::Peer { .. } => Err(wrong(Cause::Index)),
        }
    }

    /// Takes the frame one hop on: for a function that does not look at it. Returns the slot to send to; `None` if the
    /// frame is to be dropped.
    #[inline]
    pub fn forward(&mut self, frame: &FrameMut<'_>) -> Option<u8> {
        let arrival = self.arrive(frame)?;
        self.leave(arrival, frame)
    }

    /// Does [`Router::forward`] with each frame of `burst`, and puts its slot in the same place of `slots`.
    pub fn forward_burst(&mut self, burst: &mut Burst<'_>, slots: &mut [Option<u8>]) {
        let (mut at, count) = (0, burst.len().min(slots.len()));
        while at < count {
            at += self.forward_alike(burst, at, &mut slots[at..count]);
            if let (Some(slot), Ok(frame)) = (slots.get_mut(at), burst.frame_mut(at)) {
                *slot = self.forward(&frame);
            }
            at += 1;
        }
    }

    /// Takes the frames from number `from` on one hop on that begin like the last one. Returns their number.
    #[inline(always)]
    fn forward_alike(&mut self, burst: &mut Burst<'_>, from: usize, slots: &mut [Option<u8>]) -> usize {
        let Some(plan) = self.last.filter(|plan| !plan.ends && plan.bypassed == 0) else { return 0 };
        let (mut count, mut bytes, new) = (0, 0, plan.new.0.to_be());
        for (frame, slot) in burst.frames().skip(from).zip(slots) {
            let memory = frame.bytes();
            if memory.read_own(AT.into()) != Ok(plan.word)
                || memory.read_own(12) != Ok(ETHER_TYPE.to_be())
                || frame.len() <= plan.longer_than
                || memory.write_own(AT.into(), new).is_err()
            {
                break;
            }
            *slot = Some(plan.slot);
            (count, bytes) = (count + 1, bytes + u64::from(frame.len()));
        }
        if let Some(way) = self.ways.get_mut(usize::from(plan.way)) {
            way.counts.packets += count as u64;
            way.counts.bytes += bytes;
        }
        count
    }

    /// Writes the header to go on with into `frame`, and returns the slot to send to. `None`, with the frame counted as
    /// dropped, if the chain ends here.
    #[inline(always)]
    pub fn leave(&mut self, arrival: Arrival, frame: &FrameMut<'_>) -> Option<u8> {
        let written = if arrival.ends { Err(Cause::Index) } else { arrival.new.write(frame) };
        if let Err(cause) = written {
            return self.refuse(arrival, cause);
        }
        if arrival.bypassed > 0 {
            self.bypass(arrival.nsh.path(), arrival.bypassed.into());
        }
        Some(arrival.slot)
    }

    /// Counts hops that a frame passes by.
    #[cold]
    pub(crate) fn bypass(&mut self, path: Spi, count: u64) {
        if let Some(way) = self.find(path) {
            way.counts.bypassed += count;
        }
    }

    fn find(&mut self, path: Spi) -> Option<&mut Way> {
        let found = self.ways.binary_search_by_key(&path, |way| way.spi).ok()?;
        self.ways.get_mut(found)
    }

    /// Takes a frame on whose header `nsh` was kept aside since it arrived, and is in front of it again. As
    /// [`Router::forward`], but the frame was counted when it arrived.
    pub fn resume(&mut self, nsh: Nsh, frame: &FrameMut<'_>) -> Option<u8> {
        match self.plan(nsh) {
            Ok(plan) => self.leave(plan.arrival(), frame),
            Err((_, cause)) => self.count(nsh.path(), cause),
        }
    }

    /// Counts a frame that arrived, and goes no further. Returns `None`.
    #[cold]
    pub fn refuse(&mut self, arrival: Arrival, cause: Cause) -> Option<u8> {
        self.count(arrival.nsh.path(), cause)
    }

    /// Counts a frame that is dropped on `path`. Returns `None`.
    #[cold]
    pub(crate) fn count(&mut self, path: Spi, cause: Cause) -> Option<u8> {
        match self.find(path) {
            Some(way) => way.counts.drop_one(cause),
            None => self.strays.drop_one(cause),
        }
        None
    }

    /// Counts a frame of `len` bytes on no path as dropped. Returns `None`.
    #[cold]
    pub(crate) fn stray(&mut self, len: u16, cause: Cause) -> Option<u8> {
        self.strays.arrive(len);
        self.strays.drop_one(cause);
        None
    }

    /// Puts a header in front of `frame`, which enters `path` here, and returns the slot to send to; `None` if the
    /// frame is to be dropped. The frame is counted.
    pub fn enter(&mut self, path: Spi, frame: &mut FrameMut<'_>) -> Option<u8> {
        let ready = self.ready;
        let Some(way) = self.find(path) else {
            return self.stray(frame.len(), Cause::Path);
        };
        way.counts.arrive(frame.len());
        let entered = way
            .next(FIRST_INDEX, ready)
            .and_then(|next| Nsh::new(path).with_index(next.index).push(frame, &[0; 16]).map(|()| next));
        way.settle(entered)
    }

    /// Returns the slot to which [`Router::again`] would send a frame; `None` if it would drop it.
    pub fn beyond(&self, frame: &Frame<'_>) -> Option<u8> {
        let nsh = Nsh::read(frame).ok()?;
        let found = self.ways.binary_search_by_key(&nsh.path(), |way| way.spi).ok()?;
        self.ways.get(found)?.next(nsh.index(), self.ready).ok().map(|next| next.slot)
    }

    /// Finds another way for a frame that waits for a VM that does not take it: past its hop, if the hop is open.
    /// Returns the slot to send to; `None` if the frame is to be dropped, which is counted.
    pub fn again(&mut self, frame: &FrameMut<'_>) -> Option<u8> {
        let (nsh, ready) = (Nsh::read(frame).ok()?, self.ready);
        let way = self.find(nsh.path())?;
        let next = way.next(nsh.index(), ready);
        let next = next.and_then(|next| nsh.with_index(next.index).write(frame).map(|()| next));
        way.settle(next)
    }

    /// Returns the counters of `path`, if this machine is on it.
    pub fn counts(&self, path: Spi) -> Option<&Counts> {
        let found = self.ways.binary_search_by_key(&path, |way| way.spi).ok()?;
        self.ways.get(found).map(|way| &way.counts)
    }

    /// Returns the counters of frames on no path of this machine.
    pub fn strays(&self) -> &Counts {
        &self.strays
    }
}

impl fmt::Display for Router {
    /// Writes a line for each path, and one for frames on none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ways.iter().try_for_each(|way| writeln!(f, "chain {}: {}", way.name, way.counts))?;
        write!(f, "no chain: {}", self.strays)
    }
}

impl Plan {
    #[inline(always)]
    fn arrival(&self) -> Arrival {
        let Self { word, slot, bypassed, ends, open, new, .. } = *self;
        Arrival { nsh: Nsh(u64::from_be(word)), new, slot, ends, open, bypassed }
    }
}

#[cfg(test)]
mod tests;
