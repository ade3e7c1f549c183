//! How a call reaches the peers' memory: one of four gates, found in the window directory.

use crate::access::{Access, Crossing};
use crate::{PacketMemory, PeerError};
use core::cell::Cell;
use core::fmt;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Accepted, Code, Outcome, Packet, Status};
use sluice_abi::directory::{GateKind, MAX_PEERS, Peer, PeerState, VERSION};
use sluice_abi::net::{F, Offloads};
use sluice_memory::Avx;
use zerocopy::IntoBytes;

/// The way to all peers of this VM.
pub struct Gate {
    crossing: Crossing,
    avx: Option<Avx>,
    /// Whether a peer may be in quarantine though the directory says that it is ready, by [`PeerIdx`].
    doubts: [Cell<bool>; MAX_PEERS],
}

/// Reasons for which a gate can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateError {
    /// The directory starts with this number instead of its magic number.
    NoDirectory(u64),
    /// This program does not know the version of the directory.
    Version(u32),
    /// This program does not know the kind of gate.
    Kind(u32),
    /// The directory names this gate, and the access is for the gate `Direct` alone: see [`Access::direct`].
    NotDirect(GateKind),
    /// The directory is shorter than its header says, or its entries are shorter than those of this version.
    Directory,
    /// The request block is smaller than a page.
    Request,
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory(magic) => write!(f, "no window directory: it starts with {magic:#x}"),
            Self::Version(version) => write!(f, "window directory of version {version}; this program knows {VERSION}"),
            Self::Kind(kind) => write!(f, "window directory names gate {kind}, which this program does not know"),
            Self::NotDirect(kind) => write!(f, "window directory names gate {}; this program has direct", kind.name()),
            Self::Directory => write!(f, "the window directory is cut short"),
            Self::Request => write!(f, "the request block is too small"),
        }
    }
}

impl Gate {
    /// Returns the gate that the directory of `access` names.
    ///
    /// # Errors
    /// [`GateError`], if this program does not understand the directory or may not use the gate, or the request block
    /// is too short.
    pub fn discover(access: Access) -> Result<Self, GateError> {
        // Only the window knows what an earlier life of this machine found out about its peers.
        let doubts = [const { Cell::new(true) }; MAX_PEERS];
        Ok(Self { crossing: Crossing::new(access)?, avx: Avx::detect(), doubts })
    }

    /// Returns the build id of the host's ring code; `None` where the ring code is this program's own, whose id is
    /// [`crate::BUILD_ID`].
    pub fn build_id(&self) -> Option<u64> {
        Some(self.crossing.directory().build_id()).filter(|&id| id != 0)
    }

    /// Makes `runs`, which are registered with the host, all of packet memory. Runs that follow one another in RAM and
    /// in packet memory are to be given as one; packets in the run at offset 0 are sent the fastest. Where the host
    /// runs the ring code, the host knows the runs already. Returns `false` while a call is under way, or for more runs
    /// than [`sluice_abi::run::MAX_RUNS`].
    #[must_use = "packets are taken from the memory that was known before"]
    pub fn set_runs(&self, runs: &[PacketMemory]) -> bool {
        self.crossing.set_runs(runs.iter().map(|run| (run.offset, run.memory)))
    }

    /// Returns the kind of this gate.
    pub fn kind(&self) -> GateKind {
        self.crossing.kind()
    }

    /// Returns the directory's entry of the peer at `index` at this moment, with the state of [`Gate::peer_state`].
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn peer(&self, index: PeerIdx) -> Result<Peer, PeerError> {
        let peer = self.crossing.directory().peer(index)?;
        let state = if PeerState::from_word(peer.state) == PeerState::Ready {
            self.peer_state(index) as u32
        } else {
            peer.state
        };
        Ok(Peer { state, ..peer })
    }

    /// Returns the index of the peer named `name`, ready or not.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn find(&self, name: &str) -> Result<PeerIdx, PeerError> {
        for index in PeerIdx::all() {
            if self.peer(index)?.is_named(name) {
                return Ok(index);
            }
        }
        Err(PeerError::Unknown)
    }

    /// Returns the state of the peer at `index`; [`PeerState::Absent`] if there is no such peer. That takes one load,
    /// unless a call did not deliver all to a peer that is ready, or none was made yet: then an empty call asks the
    /// window whether the peer is in quarantine.
    pub fn peer_state(&self, index: PeerIdx) -> PeerState {
        let state = self.crossing.directory().state(index);
        let doubted = self.doubts.get(index.get()).is_some_and(Cell::get) || self.crossing.is_here();
        if state == PeerState::Ready && doubted { self.ask(index) } else { state }
    }

    /// Returns the work that frames may leave to `peer`: to complete their checksum, and to segment them. See:
    /// [`crate::FrameMut::set_offloads`].
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn offloads(&self, peer: PeerIdx) -> Result<Offloads, PeerError> {
        let entry = self.crossing.directory().peer(peer)?;
        Ok(F::from_bits_truncate(entry.queues[0].features).offloads_to_driver())
    }

    /// Returns the state of a peer that was ready a moment ago. The window's answer counts if the directory says the
    /// same before and after.
    #[cold]
    fn ask(&self, index: PeerIdx) -> PeerState {
        let asked = self.crossing.directory().whole(|| (self.crossing.directory().state(index), self.is_open(index)));
        // While the host writes, only the state word is known.
        let Some((_, (state, open))) = asked else { return self.crossing.directory().state(index) };
        if let (Some(doubt), Some(open)) = (self.doubts.get(index.get()), open) {
            doubt.set(!open);
        }
        if state == PeerState::Ready && open == Some(false) { PeerState::Quarantined } else { state }
    }

    /// Returns whether the window would send to the peer at `index`; `None` without an answer.
    fn is_open(&self, index: PeerIdx) -> Option<bool> {
        if self.crossing.is_here() {
            return self.crossing.look(|window| window.is_open(index));
        }
        // A packet without a byte is refused after the peer was checked. The caller's own packet is put back, as the
        // caller may be about to call by hand.
        let before = self.crossing.request.read::<Packet>(0).ok()?;
        let answer = self.send(&[Packet::new(0, 0, index)]).status.code();
        self.crossing.request.write(0, before).ok()?;
        match answer {
            Code::PeerFault | Code::PeerNotReady => Some(false),
            Code::BadRequest | Code::Full => Some(true),
            _ => None,
        }
    }

    /// Notes that a call refused these packets for whatever reason: their peers may be in quarantine.
    #[cold]
    pub(crate) fn doubt(&self, refused: &[Packet]) {
        refused.iter().filter_map(|packet| self.doubts.get(packet.peer.get())).for_each(|doubt| doubt.set(true));
    }

    /// Sends `packets`, at most [`sluice_abi::call::MAX_BURST`], each to the peer that it names: frames anywhere in
    /// registered packet memory, whoever manages their buffers. The buffers of packets that were accepted are the
    /// caller's again at once; the others were not sent. [`crate::PeerPort`] does the same for a burst.
    pub fn transmit(&self, packets: &[Packet]) -> Outcome {
        let mut outcome = self.send(packets);
        if outcome.status == Status::OK {
            outcome.accepted = Accepted::default();
            outcome.accepted.insert_run(0, packets.len());
        } else {
            self.doubt(packets);
        }
        outcome
    }

    /// Sends as [`Gate::transmit`] does. The caller calls [`Gate::doubt`] about packets that were refused.
    #[inline(always)]
    pub(crate) fn send(&self, packets: &[Packet]) -> Outcome {
        let (request, bytes) = (self.crossing.request, packets.as_bytes());
        let copied = match self.avx {
            Some(avx) => request.copy_from_slice_through(0, bytes, avx),
            None => request.copy_from_slice(0, bytes),
        };
        match copied {
            Ok(()) => self.crossing.call(packets, self.avx),
            Err(_) => Outcome::nothing(Status::new(Code::BadRequest)),
        }
    }
}

#[cfg(test)]
mod tests;
