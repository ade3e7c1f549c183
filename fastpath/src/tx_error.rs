//! Why a call did not send all of a burst, where that is not a full ring.

use crate::Status;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Clause, Code, Packet};
use sluice_driver::DeviceFault;

/// What went wrong first in a call. Frames that were not delivered are still in the burst, in order; `index` is a frame's index among them, as
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
    /// This frame leaves to its peer what the peer did not negotiate: a checksum, or segmentation. The frame and those behind it were not
    /// sent. Do the work before ([`crate::Frame::offloads`], [`crate::Gate::offloads`]), or remove the frame.
    #[error("frame {index} leaves to peer {peer} a checksum or segmentation that the peer did not negotiate")]
    OffloadNotNegotiated {
        /// The peer.
        peer: PeerIdx,
        /// The frame.
        index: usize,
    },
    /// This frame can't be sent to anybody. The frame and those behind it were not sent; remove it, and the others can be sent.
    #[error("frame {index} to peer {peer} is no frame that can be sent")]
    BadFrame {
        /// The peer.
        peer: PeerIdx,
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
        /// The first frame that was for the peer. Nothing is wrong with the frame.
        index: usize,
    },
    /// A peer is absent, or going, or was taken away, or broke the protocol before; or the host is just changing that. Look at
    /// [`crate::Gate::peer_state`] and try later.
    #[error("peer {peer} is not ready for frame {index}")]
    PeerNotReady {
        /// The peer.
        peer: PeerIdx,
        /// The first frame that was for the peer. Nothing is wrong with the frame.
        index: usize,
    },
    /// The call was ended, by the host or because it came from within another one. Nothing is wrong with the frames: try again.
    #[error("the call was ended before it sent all")]
    Aborted,
    /// This machine's packet memory is not registered with the host.
    #[error("packet memory is not registered with the host")]
    NotRegistered,
    /// This frame is longer than the MTU of this VM's own device allows. The frame and those behind it were not sent; remove it.
    #[error("frame {index} has {len} bytes; this VM's device takes {longest}")]
    DeviceTooLong {
        /// The frame.
        index: usize,
        /// Bytes of the frame.
        len: u16,
        /// Bytes of the longest frame without VLAN tags that the device takes.
        longest: u32,
    },
    /// This frame leaves to this VM's own device what was not negotiated with it: a checksum, or segmentation. The frame and those behind it
    /// were not sent. Do the work before, or remove the frame.
    #[error("frame {index} leaves to this VM's device a checksum or segmentation that was not negotiated")]
    DeviceOffload {
        /// The frame.
        index: usize,
    },
    /// The device side of this VM's own transmit queue broke the protocol. Nothing is sent there before the device is started anew; the frames
    /// of this call are still in the burst.
    #[error("the device side of the transmit queue broke the protocol: {0}")]
    Device(DeviceFault),
    /// The burst is of another pool than the port's.
    #[error("the burst is of another pool than the port")]
    ForeignPool,
    /// A status that no call ends with, or that says of no frame of the burst what it says of one.
    #[error("the call ended with {0:?}, which means nothing here")]
    Unknown(Status),
}

impl TxError {
    /// The index of a frame that this port never takes as it is. `None`: nothing is wrong with a frame.
    pub const fn refused(&self) -> Option<usize> {
        match *self {
            Self::TooLong { index, .. }
            | Self::OffloadNotNegotiated { index, .. }
            | Self::BadFrame { index, .. }
            | Self::DeviceTooLong { index, .. }
            | Self::DeviceOffload { index } => Some(index),
            _ => None,
        }
    }

    /// What `status` says of the packet that it names, which is at this index of the burst now. `None`: the packet was delivered, or there is
    /// no such packet.
    pub(crate) fn new(status: Status, named: Option<(Packet, usize)>) -> Self {
        match (status.code(), named) {
            (Code::TooLong, Some((_, index))) => Self::TooLong { peer: status.peer(), index },
            (Code::BadRequest, Some((packet, index))) if packet.has_hdr() => {
                Self::OffloadNotNegotiated { peer: packet.peer, index }
            }
            (Code::BadRequest, Some((packet, index))) => Self::BadFrame { peer: packet.peer, index },
            (Code::PeerFault, Some((_, index))) => {
                Self::PeerFault { peer: status.peer(), clause: status.clause(), index }
            }
            (Code::PeerNotReady, Some((_, index))) => Self::PeerNotReady { peer: status.peer(), index },
            (Code::Aborted, _) => Self::Aborted,
            (Code::NotRegistered, _) => Self::NotRegistered,
            _ => Self::Unknown(status),
        }
    }

    /// The same about the frame at `index`.
    pub(crate) fn at(mut self, at: usize) -> Self {
        match &mut self {
            Self::TooLong { index, .. }
            | Self::OffloadNotNegotiated { index, .. }
            | Self::BadFrame { index, .. }
            | Self::PeerFault { index, .. }
            | Self::PeerNotReady { index, .. }
            | Self::DeviceTooLong { index, .. }
            | Self::DeviceOffload { index } => *index = at,
            _ => {}
        }
        self
    }
}
