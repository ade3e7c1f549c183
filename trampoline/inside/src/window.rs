//! The state that outlives a call: the peers that can be reached, and how far the call in hand has come.

use crate::peer_window::{Known, PeerWindow};
use crate::phase::Phase;
use crate::queue::DirtyLog;
use crate::runs::Runs;
use core::mem::offset_of;
use sluice_abi::call::{Accepted, Clause};
use sluice_abi::directory::MAX_PEERS;
use sluice_abi::{PeerIdx, map};
use sluice_memory::PeerSlice;
use sluice_memory::speculation::pick_mut;

/// State of one sender. In the window view it lies at [`map::STATE`], and only window code and the host write it.
#[repr(C)]
pub struct Window {
    /// What the last call delivered, unless it delivered everything. The gate's code hands it to the caller.
    pub(crate) accepted: Accepted,
    /// RSP of the caller, which the gate's code writes.
    pub(crate) caller_rsp: u64,
    pub(crate) calls: u64,
    /// How far the call is. The gate's code resets it when a call enters.
    pub(crate) phase: Phase,
    /// Number of packets of the call.
    pub(crate) count: u16,
    /// Index of the peer whose queue the call may have changed first. A number that is no peer's index does no harm.
    pub(crate) first: u16,
    /// All other peers whose queues the call may have changed, or an earlier call did, by bits.
    pub(crate) touched: u64,
    pub(crate) packets: Runs,
    pub(crate) peers: [Option<PeerWindow>; MAX_PEERS],
    /// The queues of peers that were detached.
    pub(crate) left: [Option<Known>; MAX_PEERS],
}

const _: () = assert!(offset_of!(Window, accepted) == 0 && offset_of!(Window, caller_rsp) == 32);
const _: () = assert!(offset_of!(Window, phase) == 48);
const _: () = assert!(size_of::<Window>() as u64 <= map::STATE_LEN);

impl Window {
    /// Returns a window without packet memory and without peers.
    pub const fn new() -> Self {
        Self {
            accepted: Accepted([0; _]),
            caller_rsp: 0,
            calls: 0,
            phase: Phase::new(),
            count: 0,
            first: 0,
            touched: 0,
            packets: Runs::new(),
            peers: [const { None }; MAX_PEERS],
            left: [const { None }; MAX_PEERS],
        }
    }

    /// Returns the number of calls that have begun so far.
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns RSP of the caller of the last call through a gate.
    pub const fn caller_rsp(&self) -> u64 {
        self.caller_rsp
    }

    /// Sends nothing more to the peer at `index` until its queue begins anew.
    pub fn quarantine_peer(&mut self, index: PeerIdx) {
        if let Some(Some(peer)) = self.peers.get_mut(index.get()) {
            peer.quarantined = Some(Clause::Layout);
        }
    }

    /// Makes the peer at `index` unreachable. If it is attached again, its queue goes on where it is.
    pub fn detach_peer(&mut self, index: PeerIdx) {
        let places = self.peers.get_mut(index.get()).zip(self.left.get_mut(index.get()));
        if let Some((place, left)) = places
            && let Some(peer) = place.take()
        {
            *left = Some(peer.known());
        }
    }

    /// Marks every write into the memory of the peer at `index` in `log` from now on, or in none. Returns `false`, and
    /// changes nothing, if there is no such peer or the log is too short for its memory.
    pub fn set_log(&mut self, index: PeerIdx, log: Option<DirtyLog>) -> bool {
        let extent = self.packets.extent();
        let peer = self.peers.get_mut(index.get()).and_then(Option::as_mut);
        peer.is_some_and(|peer| {
            let set = peer.queue.set_log(log, &peer.regions);
            peer.retarget(extent);
            set
        })
    }

    /// Returns whether something can be sent to the peer at `index`: it is attached, and broke no rule since.
    pub fn is_open(&self, index: PeerIdx) -> bool {
        matches!(self.peers.get(index.get()), Some(Some(peer)) if peer.quarantined.is_none())
    }

    /// Returns whether the peer at `index` broke a rule and was not attached anew.
    pub fn is_quarantined(&self, index: PeerIdx) -> bool {
        matches!(self.peers.get(index.get()), Some(Some(peer)) if peer.quarantined.is_some())
    }

    /// Makes `runs` all of this sender's packet memory, each with its offset there: frames are taken from these runs
    /// and nowhere else. Runs that follow one another in packet memory are to be given as one where the mapping allows
    /// it, as a frame has to lie in one of them. The one at offset 0 is the fastest. Peers stay as they are. Returns
    /// `false` if there are more than [`sluice_abi::run::MAX_RUNS`]; those beyond are left out.
    pub fn set_runs(&mut self, runs: impl IntoIterator<Item = (u32, PeerSlice<'static>)>) -> bool {
        let mut packets = Runs::new();
        let fit = runs.into_iter().all(|(offset, memory)| packets.add(offset, memory));
        self.packets = packets;
        let extent = self.packets.extent();
        self.peers.iter_mut().flatten().for_each(|peer| peer.retarget(extent));
        fit
    }

    /// Makes one run, from offset 0, all of this sender's packet memory.
    pub fn set_packets(&mut self, packets: PeerSlice<'static>) {
        self.set_runs([(0, packets)]);
    }

    /// Leaves this sender without packet memory.
    pub fn forget_packets(&mut self) {
        self.set_runs([]);
    }

    /// Returns the peer at `index`, if something can be sent to it.
    #[cfg(test)]
    pub(crate) fn peer(&mut self, index: usize) -> Option<&mut PeerWindow> {
        self.phase_and_peer(index).1
    }

    /// Returns how far the call is, and the peer at `index`, if something can be sent to it.
    #[inline(always)]
    pub(crate) fn phase_and_peer(&mut self, index: usize) -> (&Phase, Option<&mut PeerWindow>) {
        let peer = pick_mut(&mut self.peers, index).and_then(Option::as_mut);
        (&self.phase, peer.filter(|peer| peer.quarantined.is_none()))
    }

    /// Returns packet memory, and the peer at `index`, if something can be sent to it.
    pub(crate) fn packets_and_peer(&mut self, index: PeerIdx) -> (&Runs, Option<&mut PeerWindow>) {
        let peer = pick_mut(&mut self.peers, index.get()).and_then(Option::as_mut);
        (&self.packets, peer.filter(|peer| peer.quarantined.is_none()))
    }

    /// Begins a call for `count` packets, the first of which is for peer `first`.
    #[inline(always)]
    pub(crate) fn begin(&mut self, count: u16, first: u16) {
        self.calls += 1;
        self.count = count;
        self.first = first;
        self.phase.set(Phase::FILLING);
    }

    /// Counts a call that is refused as a whole.
    pub(crate) fn refuse(&mut self) {
        self.calls += 1;
        self.accepted = Accepted::default();
        self.phase.set(Phase::PARTIAL);
    }

    /// Goes on for other peers, too: [`Window::touch`] names them.
    pub(crate) fn begin_others(&mut self) {
        self.touched = 0;
    }

    /// Notes that the call goes on to change the queue of `peer`.
    pub(crate) fn touch(&mut self, peer: PeerIdx) {
        self.touched |= bit(peer.get());
    }

    /// Fixes the call's outcome, which is `accepted`, and publishes it. From here on the call is completed even if it
    /// is interrupted.
    pub(crate) fn publish(&mut self) {
        self.phase.set(Phase::PARTIAL);
        self.each_touched(PeerWindow::publish);
    }

    /// Does `work` for each peer whose queue the call may have changed.
    fn each_touched(&mut self, work: impl Fn(&mut PeerWindow)) {
        let mut left = self.touched | bit(self.first.into());
        while left != 0 {
            if let Some(Some(peer)) = pick_mut(&mut self.peers, left.trailing_zeros() as usize) {
                work(peer);
            }
            left &= left - 1;
        }
    }

    /// Ends a call that was interrupted for good, and returns what it delivered. A call that had begun to publish is
    /// completed; a call that had not is undone.
    pub fn recover(&mut self) -> Accepted {
        match self.phase.get() {
            Phase::PARTIAL => {}
            Phase::WHOLE => {
                self.accepted = Accepted::default();
                self.accepted.insert_run(0, usize::from(self.count));
            }
            _ => {
                self.each_touched(|peer| peer.queue.rewind());
                self.accepted = Accepted::default();
            }
        }
        self.phase.set(Phase::PARTIAL);
        self.each_touched(PeerWindow::publish_again);
        self.accepted
    }
}

/// Returns the bit of `peer`, modulo 64.
pub(crate) const fn bit(peer: usize) -> u64 {
    1u64.wrapping_shl(peer as u32)
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
