//! Why a call did not send all of a burst, where that is not a full ring.

use crate::{PeerIdx, Status};
use sluice_abi::call::{Clause, Code};

/// What went wrong first in a call. Frames that were not delivered are still in the burst, in order; `index` is a frame's place among them, as
/// [`crate::Burst::remove`] and [`crate::Burst::frame`] count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// This frame is longer than its peer's MTU allows, or than the buffers that its peer gave. Those behind it were sent in spite of it, if
    /// nothing else kept them; remove it.
    #[error("frame {index} is longer than peer {peer} takes")]
    TooLong {
        /// The peer.
        peer: PeerIdx,
        /// The frame.
        index: usize,
    },
    /// This frame can't be sent to anybody. It and those behind it were not looked at further; remove it, and the others can be sent.
    #[error("frame {index} is no frame that can be sent")]
    BadFrame {
        /// The frame.
        index: usize,
    },
    /// A peer's ring broke the protocol: that peer gets nothing more until it starts its device anew.
    #[error("peer {peer} broke the protocol at frame {index}: {clause:?}")]
    PeerFault {
        /// The peer.
        peer: PeerIdx,
        /// The rule that it broke; `None`: one that this program does not know.
        clause: Option<Clause>,
        /// The first frame that was for it. Nothing is wrong with the frame.
        index: usize,
    },
    /// A peer is absent, or going, or was taken away, or broke the protocol before; or the host is just changing that. Look at
    /// [`crate::Gate::peer_state`] and try later.
    #[error("peer {peer} is not ready for frame {index}")]
    PeerNotReady {
        /// The peer.
        peer: PeerIdx,
        /// The first frame that was for it. Nothing is wrong with the frame.
        index: usize,
    },
    /// The call was ended, by the host or because it came from within another one. Nothing is wrong with the frames: try again.
    #[error("the call was ended before it sent all")]
    Aborted,
    /// This machine's packet memory is not registered with the host.
    #[error("packet memory is not registered with the host")]
    NotRegistered,
    /// This port does not send.
    #[error("this port does not send")]
    ReceiveOnly,
    /// A status that no call ends with, or that says of no frame of the burst what it says of one.
    #[error("the call ended with {0:?}, which means nothing here")]
    Unknown(Status),
}

impl TxError {
    /// What `status` says, where the packet at place `index` of the call is now at place `place(index)` of the burst; `None`: it was delivered,
    /// or there is no such packet.
    pub(crate) fn new(status: Status, place: impl FnOnce(u16) -> Option<usize>) -> Self {
        let index = status.packet().and_then(place);
        match (status.code(), index) {
            (Code::TooLong, Some(index)) => Self::TooLong { peer: status.peer(), index },
            (Code::BadRequest, Some(index)) => Self::BadFrame { index },
            (Code::PeerFault, Some(index)) => Self::PeerFault { peer: status.peer(), clause: status.clause(), index },
            (Code::PeerNotReady, Some(index)) => Self::PeerNotReady { peer: status.peer(), index },
            (Code::Aborted, _) => Self::Aborted,
            (Code::NotRegistered, _) => Self::NotRegistered,
            _ => Self::Unknown(status),
        }
    }
}
