//! Queues to the VMs that a machine sends to, and the loop around them.

use crate::Router;
use alloc::string::String;
use alloc::vec::Vec;
use sluice_vnf::{BURST_SIZE, Burst, Error, FrameMut, PeerIdx, PeerState, Ports, Receive, Vnf, clock, println};

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
pub struct Lanes {
    lanes: Vec<Lane>,
    /// Number of the router's slots.
    slots: usize,
    /// Ticks after which a VM that takes no frame counts as not there.
    stall: Option<u64>,
    /// Bits of lanes whose VMs take frames, and of those that are gone for good.
    ready: u64,
    gone: u64,
    /// Frames that were lost on their way to the VM beside.
    lost: u64,
}

/// The slot of the VM beside the chains, and whether it takes frames.
pub type Beside = Option<(u8, bool)>;

impl Lanes {
    /// Returns empty lanes to the VMs of a router's slots, and to one beside.
    pub fn new(ports: &Ports, peers: &[PeerIdx], beside: Option<PeerIdx>, stall_ms: Option<u32>) -> Self {
        let lane = |peer: &PeerIdx| Lane { peer: *peer, queue: ports.burst(), since: 0, away_until: 0 };
        let lanes = peers.iter().chain(&beside).map(lane).collect();
        let stall = stall_ms.map(|time| (u64::from(time) * (crate::seconds(1) / 1000)).max(1));
        Self { lanes, slots: peers.len(), stall, ready: 0, gone: 0, lost: 0 }
    }

    /// Waits until all VMs are ready, or nothing came of that for seconds.
    pub fn wait(&self, vnf: &Vnf, ports: &Ports) {
        let mut patience = vnf.patience();
        let absent = |lane: &Lane| ports.state(lane.peer) == PeerState::Absent;
        while self.lanes.iter().any(absent) && patience.wait(vnf).is_ok() {}
    }

    /// Receives bursts, lets `work` name the lane of each frame, and sends them there, until `router` has nothing left
    /// to do, or the VM beside is gone, and no frame is there any more. A frame without a lane is dropped: that is
    /// counted before.
    pub fn run(
        &mut self,
        vnf: &Vnf,
        ports: &mut Ports,
        router: &mut Router,
        mut work: impl FnMut(&mut Router, &mut Burst<'static>, Beside, &mut [Option<u8>]),
    ) -> Result<(), Error> {
        let mut arrived = ports.burst();
        loop {
            let is_over = self.look(ports, router);
            let beside = self.beside();
            let has_room = self.lanes.iter().all(|lane| lane.queue.room() >= BURST_SIZE);
            let received = if has_room { ports.input.rx_burst(&mut arrived, BURST_SIZE)? } else { 0 };
            let mut slots = [None; BURST_SIZE];
            work(router, &mut arrived, beside, &mut slots);
            let mut sent = self.sort(ports, &mut arrived, &slots)?;
            for slot in 0..self.lanes.len() {
                sent += self.flush(ports, router, slot)?;
            }
            match received + sent {
                0 if is_over => return Ok(()),
                0 => vnf.yield_now(),
                _ => {}
            }
        }
    }

    fn beside(&self) -> Beside {
        self.lanes.get(self.slots).map(|_| (self.slots as u8, self.ready >> self.slots & 1 != 0))
    }

    /// Reads who takes frames. Returns whether nothing is left to do.
    fn look(&mut self, ports: &Ports, router: &mut Router) -> bool {
        let now = if self.stall.is_some() { clock::now() } else { 0 };
        (self.ready, self.gone) = (0, 0);
        for (slot, lane) in self.lanes.iter().enumerate() {
            match ports.state(lane.peer) {
                PeerState::Ready => self.ready |= u64::from(now >= lane.away_until) << slot,
                PeerState::Revoked => self.gone |= 1 << slot,
                PeerState::Absent | PeerState::Quarantined => {}
            }
        }
        router.set_ready(self.ready);
        router.is_over(self.gone) || self.gone >> self.slots != 0
    }

    /// Moves each frame of `arrived` to its lane. A burst that is all for one lane, whose queue is empty, is sent right
    /// away. Returns the number of frames that were sent.
    fn sort(&mut self, ports: &mut Ports, arrived: &mut Burst<'static>, slots: &[Option<u8>]) -> Result<usize, Error> {
        let count = arrived.len();
        let slots = slots.get(..count).unwrap_or_default();
        let only = slots.first().copied().flatten().filter(|first| slots.iter().all(|slot| *slot == Some(*first)));
        if let Some(lane) = only.and_then(|slot| self.lanes.get_mut(usize::from(slot))) {
            let sent = if lane.queue.is_empty() { send(ports, lane.peer, arrived)? } else { 0 };
            lane.queue.append(arrived, count)?;
            return Ok(sent);
        }
        for slot in slots {
            match slot.and_then(|slot| self.lanes.get_mut(usize::from(slot))) {
                Some(lane) => arrived.move_to(0, &mut lane.queue)?,
                None => arrived.drop_front(1),
            }
        }
        Ok(0)
    }

    /// Sends what the VM of `slot` takes; if it is not there, its frames look for another way. Returns the number of
    /// frames that left the queue.
    fn flush(&mut self, ports: &mut Ports, router: &mut Router, slot: usize) -> Result<usize, Error> {
        let is_ready = self.ready >> slot & 1 != 0;
        let Some(lane) = self.lanes.get_mut(slot).filter(|lane| !lane.queue.is_empty()) else { return Ok(0) };
        if !is_ready {
            return self.redirect(router, slot);
        }
        let sent = send(ports, lane.peer, &mut lane.queue)?;
        if let Some(stall) = self.stall {
            lane.notice(sent, stall);
        }
        Ok(sent)
    }

    /// Moves the frames of `slot`, whose VM is not there, to other lanes, or drops them.
    fn redirect(&mut self, router: &mut Router, slot: usize) -> Result<usize, Error> {
        let count = self.lanes.get(slot).map_or(0, |lane| lane.queue.len());
        for at in 0..count {
            let Some(lane) = self.lanes.get_mut(slot) else { break };
            let other = if slot < self.slots { router.again(&lane.queue.frame_mut(0)?) } else { None };
            self.lost += u64::from(slot >= self.slots);
            let other = other.map(usize::from).filter(|other| *other != slot);
            match other.and_then(|other| self.lanes.get_disjoint_mut([slot, other]).ok()) {
                // The frame names its new hop by now, so it goes there in a later turn.
                Some([_, to]) if to.queue.room() == 0 => return Ok(at),
                Some([from, to]) => from.queue.move_to(0, &mut to.queue)?,
                None => self.lanes.get_mut(slot).into_iter().for_each(|lane| lane.queue.drop_front(1)),
            }
        }
        Ok(count)
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

/// Sends what `peer` takes of `burst`. A peer that is gone takes nothing.
fn send(ports: &mut Ports, peer: PeerIdx, burst: &mut Burst<'static>) -> Result<usize, Error> {
    match ports.send(peer, burst) {
        Err(Error::PeerGone | Error::PeerQuarantined) => Ok(0),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_that_takes_no_frame_for_too_long_is_away() {
        let mut lane = Lane { peer: PeerIdx(0), queue: crate::testing::burst(), since: 0, away_until: 0 };
        let long = 1 << 50;
        lane.notice(0, 1);
        assert_eq!((lane.since, lane.away_until), (0, 0), "nothing waits");
        assert!(lane.queue.push(60).is_ok());
        lane.notice(0, long);
        let since = lane.since;
        lane.notice(0, long);
        assert!(since > 0 && (lane.since, lane.away_until) == (since, 0), "not yet");
        lane.notice(1, 1);
        assert!(lane.since > since && lane.away_until == 0, "a frame was taken");
        lane.notice(0, 1);
        assert!(lane.since == 0 && lane.away_until > since);
    }
}
