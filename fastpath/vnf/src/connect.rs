//! The first steps of every VNF: setting up, and finding a peer.

use crate::{SetupError, Vnf};
use core::fmt;
use sluice::{
    FrameError, Gate, GateError, PacketMemory, PeerError, PeerIdx, PoolError, RxError, TxError, VirtioNetError,
};
use sluice_abi::directory::PeerState;

/// Why a VNF can't start, or go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No memory, or the host refused it.
    Setup(SetupError),
    /// No gate.
    Gate(GateError),
    /// No network device.
    Net(VirtioNetError),
    /// No peer of that name is in the window directory.
    NoPeer(&'static str),
    /// The peer went away.
    PeerGone,
    /// The peer's rings broke the protocol: nothing more is sent to it until it starts its device anew.
    PeerQuarantined,
    /// Nothing came from the other side for seconds.
    Silence,
    /// The gate refused packets.
    Send(TxError),
    /// Packet memory is too small for the receive queue.
    NoBuffer,
    /// No pool.
    Pool(PoolError),
    /// Nothing can be received any more.
    Receive(RxError),
    /// A frame can't be had, or not be changed so.
    Frame(FrameError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Gate(error) => error.fmt(f),
            Self::Net(error) => error.fmt(f),
            Self::NoPeer(name) => write!(f, "peer {name:?}: not in the window directory"),
            Self::PeerGone => write!(f, "the peer went away"),
            Self::PeerQuarantined => write!(f, "the peer is in quarantine: its rings broke the protocol"),
            Self::Silence => write!(f, "nothing came from the other side for too long"),
            Self::Send(error) => write!(f, "the gate refused packets: {error}"),
            Self::NoBuffer => write!(f, "packet memory is too small for the receive queue"),
            Self::Pool(error) => error.fmt(f),
            Self::Receive(error) => error.fmt(f),
            Self::Frame(error) => error.fmt(f),
        }
    }
}

impl From<VirtioNetError> for Error {
    fn from(error: VirtioNetError) -> Self {
        Self::Net(error)
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<RxError> for Error {
    fn from(error: RxError) -> Self {
        Self::Receive(error)
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl Vnf {
    /// Registers packet memory with the host, and finds the gate. Once per VNF: a second call is [`SetupError::Taken`].
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
        let mut patience = self.patience();
        let peer = loop {
            match name.map_or_else(|| gate.peer(PeerIdx(0)).map(|_| PeerIdx(0)), |name| gate.find(name)) {
                Ok(peer) => break peer,
                Err(PeerError::Unknown) => return Err(Error::NoPeer(name.unwrap_or("the first"))),
                Err(PeerError::Busy) => patience.wait(self)?,
            }
        };
        loop {
            match gate.peer_state(peer) {
                PeerState::Ready => return Ok(peer),
                PeerState::Revoked => return Err(Error::PeerGone),
                PeerState::Quarantined => return Err(Error::PeerQuarantined),
                PeerState::Absent | PeerState::Draining => patience.wait(self)?,
            }
        }
    }
}
