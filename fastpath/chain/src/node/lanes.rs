//! Queues to the VMs that a machine sends to, and the loop around them.

use crate::{ChainFile, Router};
use alloc::string::String;
use alloc::vec::Vec;
use sluice_vnf::{BURST_SIZE, Burst, Error, FrameMut, PeerIdx, PeerState, Ports, Vnf, clock, println};

/// Frames for one VM, in order.
struct Lane {
    peer: PeerIdx,
    queue: Burst<'static>,
    /// When the VM took frames last, or the queue got its first one; 0 while there is none.
    since: u64,
    /// Until when the VM counts as not there, as it took no frame for too long.
    away_until: u64,
}

/// The lanes, by slot of the router. One more may follow, to a VM beside the chains.
///
/// VMs that send to each other must not wait for each other: frames that find a full lane keep the queue pair that they
/// came from waiting, and no other.
pub struct Lanes {
    lanes: Vec<Lane>,
    /// By queue pair: frames whose lane has no room, in order. Each has its slot as mark. Nothing is received from the
    /// pair while there are any.
    held: Vec<Burst<'static>>,
    /// Number of the router's slots.
    slots: usize,
    /// Ticks after which a VM that takes no frame counts as not there.
    stall: Option<u64>,
    /// Ticks from one print of the router's counters to the next, and when that is due.
    report: Option<(u64, u64)>,
    /// Bits of lanes whose VMs take frames.
    ready: u64,
    /// Bits of lanes that take no frame, as older ones wait for room in them, in the lane of a VM that is not there.
    behind: u64,
    /// Frames that were lost on their way to the VM beside.
    lost: u64,
    /// Whether nothing is left to do once the VM beside is gone.
    pub ends_with_beside: bool,
}

/// The slot of the VM beside the chains, and whether it takes frames.
pub type Beside = Option<(u8, bool)>;

impl Lanes {
    /// Returns empty lanes to the VMs of a router's slots, and to one beside. The times are those of `file`.
    pub fn new(ports: &Ports, peers: &[PeerIdx], beside: Option<PeerIdx>, file: &ChainFile) -> Self {
        let lane = |peer: &PeerIdx| Lane { peer: *peer, queue: ports.burst(), since: 0, away_until: 0 };
        let lanes = peers.iter().chain(&beside).map(lane).collect();
        let held = (0..ports.input.pairs()).map(|_| ports.burst()).collect();
        let ticks = |time: u32| (time > 0).then(|| (u64::from(time) * (crate::seconds(1) / 1000)).max(1));
        let (stall, report) = (ticks(file.stall_ms), ticks(file.report_ms).map(|time| (time, clock::now() + time)));
        Self { lanes, held, slots: peers.len(), stall, report, ready: 0, behind: 0, lost: 0, ends_with_beside: false }
    }

    /// Waits until all VMs are ready, or nothing came of that for seconds.
    pub fn wait(&self, vnf: &Vnf, ports: &Ports) {
        let mut patience = vnf.patience();
        let absent = |lane: &Lane| ports.state(lane.peer) == PeerState::Absent;
        while self.lanes.iter().any(absent) && patience.wait(vnf).is_ok() {}
    }

    /// Receives bursts, lets `work` name the lane of each frame, and sends them there, until nothing is left to do
    /// and no frame is there any more. A frame without a lane is dropped: that is counted before. A queue pair at fault
    /// stops no other; the error is returned once the others have no frame.
    pub fn run(
        &mut self,
        vnf: &Vnf,
        ports: &mut Ports,
        router: &mut Router,
        mut work: impl FnMut(&mut Router, &mut Burst<'static>, Beside, &mut [Option<u8>]),
    ) -> Result<(), Error> {
        let (mut arrived, mut turns) = (ports.burst(), 0..usize::MAX);
        loop {
            let is_over = self.look(ports, router);
            let (mut moved, mut fault) = (self.flush(ports, router)?, Ok(()));
            // Each pair comes first in its turn, so that no busy one takes all the room in a lane.
            let (pairs, first) = (self.held.len(), turns.next().unwrap_or(0));
            for pair in (0..pairs).map(|pair| (first + pair) % pairs) {
                let admitted = self.admit(pair)?;
                moved += admitted;
                // Nothing newer overtakes frames for a VM that is not there: they look for another way first.
                if !self.is_free(pair) || admitted > 0 && self.are_stranded() {
                    continue;
                }
                let received = ports.input.rx_burst_from(pair as u16, &mut arrived, BURST_SIZE);
                fault = fault.and(received.map(drop));
                if let Ok(1..) = received {
                    let mut slots = [None; BURST_SIZE];
                    work(router, &mut arrived, self.beside(), &mut slots);
                    self.sort(ports, pair, &mut arrived, &slots)?;
                }
                moved += received.unwrap_or(0);
            }
            self.say(router);
            match moved {
                0 if fault.is_err() && self.is_empty() => return fault.map_err(Error::from),
                0 if is_over && self.is_empty() => return Ok(()),
                0 => vnf.yield_now(),
                _ => {}
            }
        }
    }

    /// Prints the counters of `router`, if it is time.
    fn say(&mut self, router: &Router) {
        if let Some((time, due)) = &mut self.report
            && clock::now() >= *due
        {
            println!("{router}");
            *due = clock::now() + *time;
        }
    }

    fn beside(&self) -> Beside {
        self.lanes.get(self.slots).map(|_| (self.slots as u8, has(self.ready, self.slots)))
    }

    /// Returns whether no frame of `pair` waits.
    fn is_free(&self, pair: usize) -> bool {
        self.held.get(pair).is_some_and(Burst::is_empty)
    }

    /// Returns whether frames are in the lane of a VM that is not there.
    fn are_stranded(&self) -> bool {
        self.lanes.iter().enumerate().any(|(slot, lane)| !has(self.ready, slot) && !lane.queue.is_empty())
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().map(|lane| &lane.queue).chain(&self.held).all(Burst::is_empty)
    }

    /// Reads who takes frames. Returns whether nothing is left to do.
    fn look(&mut self, ports: &Ports, router: &mut Router) -> bool {
        self.ready = 0;
        // Bits of lanes whose VMs are gone for good.
        let mut gone = 0;
        for (slot, lane) in self.lanes.iter_mut().enumerate() {
            let state = ports.state(lane.peer);
            if state == PeerState::Ready {
                let is_away = lane.away_until > 0 && clock::now() < lane.away_until;
                self.ready |= u64::from(!is_away) << slot;
            } else {
                // When it comes back, it has not kept anybody waiting.
                (lane.since, lane.away_until) = (0, 0);
                gone |= u64::from(state == PeerState::Revoked) << slot;
            }
        }
        router.set_ready(self.ready);
        router.is_over(gone) || self.ends_with_beside && gone >> self.slots != 0
    }

    /// Sends what the VMs take; the frames of those that are not there look for another way, before any newer one is
    /// received. Returns the number of frames that left their lane.
    fn flush(&mut self, ports: &mut Ports, router: &mut Router) -> Result<usize, Error> {
        let mut moved = 0;
        for (slot, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.queue.is_empty()) {
            if has(self.ready, slot) {
                let sent = send(ports, lane.peer, &mut lane.queue)?;
                self.stall.into_iter().for_each(|stall| lane.notice(sent, stall));
                moved += sent;
            }
        }
        self.behind = 0;
        for slot in 0..self.lanes.len() {
            if !has(self.ready, slot) {
                moved += self.redirect(router, slot)?;
            }
        }
        // A lane that was full once would keep as many buffers from all receive queues.
        self.lanes.iter_mut().filter(|lane| lane.queue.is_empty()).for_each(|lane| lane.queue.release());
        Ok(moved)
    }

    /// Moves the frames of `slot`, whose VM is not there, to other lanes, or drops them. Those whose lane has no room
    /// stay, as they are. Returns the number of frames that left.
    fn redirect(&mut self, router: &mut Router, slot: usize) -> Result<usize, Error> {
        let count = self.lanes.get(slot).map_or(0, |lane| lane.queue.len());
        let mut stay = 0;
        for _ in 0..count {
            let Some(lane) = self.lanes.get(slot) else { break };
            let is_in_chain = slot < self.slots;
            let next = if is_in_chain { router.beyond(&lane.queue.frame(stay)?) } else { None };
            if let Some(full) = next.filter(|next| !self.takes(*next)) {
                self.behind |= 1 << full;
                stay += 1;
                continue;
            }
            let Some(lane) = self.lanes.get_mut(slot) else { break };
            let other = if is_in_chain { router.again(&lane.queue.frame_mut(stay)?) } else { None };
            self.lost += u64::from(!is_in_chain);
            match other.and_then(|other| self.lanes.get_disjoint_mut([slot, usize::from(other)]).ok()) {
                Some([from, to]) => from.queue.move_to(stay, &mut to.queue)?,
                None => self.lanes.get_mut(slot).into_iter().for_each(|lane| _ = lane.queue.remove(stay)),
            }
        }
        Ok(count - stay)
    }

    /// Returns whether the lane of `slot` has room, and no frame waits to get in.
    fn takes(&self, slot: u8) -> bool {
        let has_room = self.lanes.get(usize::from(slot)).is_some_and(|lane| lane.queue.room() > 0);
        has_room && !has(self.behind, slot.into())
    }

    /// Moves frames of `pair` that wait to lanes that have room by now. Returns their number.
    fn admit(&mut self, pair: usize) -> Result<usize, Error> {
        let mut admitted = 0;
        while let Some(slot) = self.held.get(pair).and_then(|held| held.frames().next()).map(|frame| frame.mark() as u8)
        {
            let takes = self.takes(slot);
            let Some((held, lane)) = self.held.get_mut(pair).zip(self.lanes.get_mut(usize::from(slot))) else { break };
            let run = held.frames().take_while(|frame| frame.mark() == u32::from(slot)).count();
            let taken = if takes { lane.queue.append(held, run)? } else { 0 };
            admitted += taken;
            if taken < run {
                break;
            }
        }
        Ok(admitted)
    }

    /// Moves each frame of `arrived`, which came by `pair`, to its lane, or to those that wait for room in it. Frames
    /// for an empty lane that are the last of the burst are sent right away.
    fn sort(
        &mut self,
        ports: &mut Ports,
        pair: usize,
        arrived: &mut Burst<'static>,
        slots: &[Option<u8>],
    ) -> Result<(), Error> {
        let mut rest = slots.get(..arrived.len()).unwrap_or_default();
        while let Some(&first) = rest.first() {
            let run = rest.iter().take_while(|slot| **slot == first).count();
            rest = rest.get(run..).unwrap_or_default();
            let takes = first.is_some_and(|slot| self.takes(slot));
            let lane = first.and_then(|slot| Some((slot, self.lanes.get_mut(usize::from(slot))?)));
            let (Some((slot, lane)), Some(held)) = (lane, self.held.get_mut(pair)) else {
                arrived.drop_front(run);
                continue;
            };
            if takes && rest.is_empty() && lane.queue.is_empty() {
                send(ports, lane.peer, arrived)?;
            }
            let run = run.min(arrived.len());
            let taken = if takes { lane.queue.append(arrived, run)? } else { 0 };
            for index in 0..run - taken {
                arrived.frame_mut(index)?.set_mark(slot.into());
            }
            held.append(arrived, run - taken)?;
        }
        Ok(())
    }

    /// Prints what was sent to each VM, of which the router's slots have `names`.
    pub fn report(&self, ports: &Ports, names: &[String]) {
        for (slot, lane) in self.lanes.iter().enumerate() {
            let (name, sent) = (names.get(slot).map_or("beside", String::as_str), ports.stats_of(lane.peer));
            println!("to {name}: {} frames, {} too long for it", sent.packets, sent.too_long);
        }
        if self.lost > 0 {
            println!("beside: {} frames lost as it went away", self.lost);
        }
    }
}

impl Lane {
    /// Notes that `sent` frames were taken. A VM that took none for `stall` ticks is away for as long.
    fn notice(&mut self, sent: usize, stall: u64) {
        let now = clock::now();
        if self.queue.is_empty() {
            self.since = 0;
        } else if sent > 0 || self.since == 0 {
            self.since = now;
        } else if now.saturating_sub(self.since) > stall {
            (self.since, self.away_until) = (0, now.saturating_add(stall));
        }
    }
}

/// Asks `each` for the lane of each frame of `burst`.
pub fn each_frame(
    burst: &mut Burst<'static>,
    slots: &mut [Option<u8>],
    mut each: impl FnMut(&mut FrameMut<'_>) -> Option<u8>,
) {
    for (index, slot) in slots.iter_mut().enumerate().take(burst.len()) {
        *slot = burst.frame_mut(index).ok().and_then(|mut frame| each(&mut frame));
    }
}

/// Returns whether the bit of `slot` is set.
const fn has(bits: u64, slot: usize) -> bool {
    bits >> slot & 1 != 0
}

/// Sends what `peer` takes of `burst`. A peer that is gone takes nothing.
fn send(ports: &mut Ports, peer: PeerIdx, burst: &mut Burst<'static>) -> Result<usize, Error> {
    match ports.send(peer, burst) {
        Err(Error::PeerGone | Error::PeerQuarantined) => Ok(0),
        other => other,
    }
}

#[cfg(test)]
mod tests;
