//! The first steps of every VNF: setting up, and finding a peer.

use crate::{Patience, SetupError, Vnf};
use sluice::{
    FrameError, Gate, GateError, PacketMemory, PeerError, PeerIdx, PeerState, PoolError, RxError, TxError,
    VirtioNetError,
};

/// Why a VNF can't start, or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no memory for packets, or the host refused it.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// There is no gate.
    #[error("{0}")]
    Gate(GateError),
    /// There is no network device.
    #[error(transparent)]
    Net(#[from] VirtioNetError),
    /// No peer of that name is in the window directory.
    #[error("peer {0:?}: not in the window directory")]
    NoPeer(&'static str),
    /// The host took the peer away for good.
    #[error("the peer went away")]
    PeerGone,
    /// The peer's rings broke the protocol: nothing more is sent to it until it starts its device anew.
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
    /// There is no pool.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// Nothing can be received any more.
    #[error(transparent)]
    Receive(#[from] RxError),
    /// A frame can't be had, or not be changed so.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Vnf {
    /// Registers packet memory with the host, and finds the gate. Once per VNF: a second call is [`SetupError::Taken`].
    /// [`Vnf::open`] does this, too, and more.
    #[allow(unsafe_code, reason = "the one promise that a VNF makes")]
    pub fn connect(&mut self) -> Result<(Gate, PacketMemory), Error> {
        let (access, memory) = self.setup().map_err(Error::Setup)?;
        // SAFETY: the host just gave this access. `setup` took the memory out of the VNF, so this gate and this memory are all that refers
        // to it.
        let gate = unsafe { Gate::discover(access) }.map_err(Error::Gate)?;
        Ok((gate, memory))
    }

    /// The index of the peer named `name` (without a name: of the first peer), once the peer is ready.
    pub fn wait_for_peer(&self, gate: &Gate, name: Option<&'static str>) -> Result<PeerIdx, Error> {
        wait_for_peer(gate, name)
    }

    /// The word number `index` of the arguments, from 0.
    pub fn arg(&self, index: usize) -> Option<&'static str> {
        self.args().split_whitespace().nth(index)
    }
}

/// The index of the peer named `name` (without a name: of the first peer), once the peer is ready.
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
            PeerState::Absent | PeerState::Draining => patience.turn()?,
        }
    }
}
