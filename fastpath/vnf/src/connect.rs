//! The first steps of every VNF: setting up, and finding a peer.

use crate::{Patience, SetupError, Vnf, runs};
use sluice::{
    FrameError, Gate, GateError, PacketMemory, PeerError, PeerIdx, PeerState, PoolError, RxError, TxError,
    VirtioNetError,
};
use sluice_abi::run::Run;

/// Reasons for which a VNF can't start, or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The VNF was given other arguments than these.
    #[error("arguments: want {0}")]
    Arguments(&'static str),
    /// There is no memory for packets, or the host refused it.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A gate can't be made.
    #[error("{0}")]
    Gate(GateError),
    /// The network device can't be started.
    #[error(transparent)]
    Net(#[from] VirtioNetError),
    /// No peer of this name is in the window directory.
    #[error("peer {0:?}: not in the window directory")]
    NoPeer(&'static str),
    /// The host took the peer away for good.
    #[error("the peer went away")]
    PeerGone,
    /// The peer's rings broke the protocol. Nothing more is sent to it until it starts its device anew.
    #[error("the peer is in quarantine: its rings broke the protocol")]
    PeerQuarantined,
    /// Nothing came from the other side for seconds.
    #[error("nothing came from the other side for too long")]
    Silence,
    /// The gate refused packets.
    #[error("the gate refused packets: {0}")]
    Send(#[from] TxError),
    /// Packet memory is too small for the receive queue.
    #[error("packet memory is too small for the receive queue")]
    NoBuffer,
    /// The pool can't be made.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Nothing can be received any more.
    #[error(transparent)]
    Receive(#[from] RxError),
    /// A frame can't be added or changed.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Vnf {
    /// Registers packet memory with the host, and finds the gate. [`Vnf::open`] does this, too, and more.
    ///
    /// # Errors
    /// [`Error::Setup`], with [`SetupError::Taken`] at a second call, and [`Error::Gate`].
    pub fn connect(&mut self) -> Result<(Gate, PacketMemory), Error> {
        let (access, memory) = self.setup().map_err(Error::Setup)?;
        Ok((Gate::discover(access).map_err(Error::Gate)?, memory))
    }

    /// Adds `len` bytes, rounded up to a multiple of 2 MiB, to the packet memory of the VNF that `gate` belongs to:
    /// memory for one more pool. Peers can write there when this returns.
    ///
    /// # Errors
    /// [`SetupError::NoMemory`] without such a run of RAM, [`SetupError::Busy`], or the host's refusal.
    pub fn add_run(&mut self, gate: &Gate, len: u64) -> Result<PacketMemory, SetupError> {
        let runs = self.runs()?;
        let run = runs::whole(len).and_then(|len| runs.place(len)).ok_or(SetupError::NoMemory)?;
        self.host_add_run(run)?;
        let runs = self.runs()?;
        let memory = runs.insert(run).ok_or(SetupError::NoMemory)?;
        match runs.merged(|runs| gate.set_runs(runs)) {
            Some(true) => Ok(memory),
            _ => self.forget(run).and(Err(SetupError::Busy)),
        }
    }

    /// Removes `memory`, all that one [`Vnf::add_run`] or [`Vnf::connect`] returned, from packet memory. No buffer of a
    /// receive queue and no packet of a pool may lie there any more: peers find this machine at fault for a buffer that
    /// is still in the queue. In a VM no peer reaches the memory when this returns; in a process, no call of a peer
    /// that begins after that.
    ///
    /// # Errors
    /// [`SetupError::NoSuchRun`], [`SetupError::Busy`], or the host's refusal.
    pub fn remove_run(&mut self, gate: &Gate, memory: PacketMemory) -> Result<(), SetupError> {
        let runs = self.runs()?;
        let run = runs.find(&memory).ok_or(SetupError::NoSuchRun)?;
        runs.remove(run);
        if runs.merged(|runs| gate.set_runs(runs)) != Some(true) {
            runs.insert(run);
            return Err(SetupError::Busy);
        }
        self.host_remove_run(run)
    }

    fn forget(&mut self, run: Run) -> Result<(), SetupError> {
        self.runs()?.remove(run);
        self.host_remove_run(run)
    }

    /// Returns the index of the peer named `name` (without a name: of the first peer), once the peer is ready.
    ///
    /// # Errors
    /// [`Error::NoPeer`], [`Error::PeerGone`], [`Error::PeerQuarantined`], and [`Error::Silence`] if the peer does not
    /// come for seconds.
    pub fn wait_for_peer(&self, gate: &Gate, name: Option<&'static str>) -> Result<PeerIdx, Error> {
        wait_for_peer(gate, name)
    }

    /// Returns word `index` of the arguments, counted from 0.
    pub fn arg(&self, index: usize) -> Option<&'static str> {
        self.args().split_whitespace().nth(index)
    }
}

/// Returns the index of the peer named `name` (without a name: of the first peer), once the peer is ready.
pub(crate) fn wait_for_peer(gate: &Gate, name: Option<&'static str>) -> Result<PeerIdx, Error> {
    let mut patience = Patience::new();
    let peer = loop {
        match name.map_or_else(|| gate.peer(PeerIdx(0)).map(|_| PeerIdx(0)), |name| gate.find(name)) {
            Ok(peer) => break peer,
            Err(PeerError::Unknown) => return Err(Error::NoPeer(name.unwrap_or("the first"))),
            Err(PeerError::Busy) => patience.turn()?,
        }
    };
    loop {
        match gate.peer_state(peer) {
            PeerState::Ready => return Ok(peer),
            PeerState::Revoked => return Err(Error::PeerGone),
            PeerState::Quarantined => return Err(Error::PeerQuarantined),
            PeerState::Absent => patience.turn()?,
        }
    }
}
