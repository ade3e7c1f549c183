//! Errors of calls that send.

use crate::Status;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Clause, Code, Packet};
use sluice_driver::DeviceFault;

/// The first error of a call that sends. A full ring is no error. Frames that were not delivered are still in the
/// burst, in order; `index` is the index of a frame among them, for [`crate::Burst::remove`] and
/// [`crate::Burst::frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// The frame is longer than its peer's MTU allows, or than the buffers that its peer gave. The frames behind it
    /// were sent in spite of that, if there was no other reason against them. The caller removes the frame.
    #[error("frame {index} is longer than peer {peer} takes")]
    TooLong {
        /// The peer.
        peer: PeerIdx,
        /// The frame.
        index: usize,
    },
    /// The frame leaves to its peer work that the peer did not negotiate: a checksum, or segmentation. The frame and
    /// those behind it were not sent. The caller does the work before ([`crate::Frame::offloads`],
    /// [`crate::Gate::offloads`]), or removes the frame.
    #[error("frame {index} leaves to peer {peer} a checksum or segmentation that the peer did not negotiate")]
    OffloadNotNegotiated {
        /// The peer.
        peer: PeerIdx,
        /// The frame.
        index: usize,
    },
    /// The frame can't be sent to any peer. The frame and those behind it were not sent; without it, the others can be
    /// sent.
    #[error("frame {index} to peer {peer} is not a frame that can be sent")]
    BadFrame {
        /// The peer.
        peer: PeerIdx,
        /// The frame.
        index: usize,
    },
    /// A peer's ring broke the protocol. The peer gets nothing more until it starts its device anew.
    #[error("peer {peer} broke the protocol at frame {index}: {clause:?}")]
    PeerFault {
        /// The peer.
        peer: PeerIdx,
        /// The rule that the peer broke; `None` if this program does not know the rule.
        clause: Option<Clause>,
        /// The first frame that was for the peer. Nothing is wrong with the frame.
        index: usize,
    },
    /// A peer is absent, was taken away, or broke the protocol before, or the host is just changing that.
    /// [`crate::Gate::peer_state`] tells which; the frames can be sent later.
    #[error("peer {peer} is not ready for frame {index}")]
    PeerNotReady {
        /// The peer.
        peer: PeerIdx,
        /// The first frame that was for the peer. Nothing is wrong with the frame.
        index: usize,
    },
    /// The host ended the call, or the call came from within another one. Nothing is wrong with the frames, which can
    /// be sent again.
    #[error("the call was ended before it sent all")]
    Aborted,
    /// This machine's packet memory is not registered with the host.
    #[error("packet memory is not registered with the host")]
    NotRegistered,
    /// The frame is longer than the MTU of this VM's own device allows. The frame and those behind it were not sent.
    /// The caller removes the frame.
    #[error("frame {index} has {len} bytes; this VM's device takes {longest}")]
    DeviceTooLong {
        /// The frame.
        index: usize,
        /// Length of the frame in bytes.
        len: u16,
        /// Length of the longest frame without VLAN tags that the device takes, in bytes.
        longest: u32,
    },
    /// The frame leaves to this VM's own device work that was not negotiated: a checksum, or segmentation. The frame
    /// and those behind it were not sent. The caller does the work before, or removes the frame.
    #[error("frame {index} leaves to this VM's device a checksum or segmentation that was not negotiated")]
    DeviceOffload {
        /// The frame.
        index: usize,
    },
    /// The device side of this VM's own transmit queue broke the protocol. Nothing is sent there before the device is
    /// started anew; the frames of this call are still in the burst.
    #[error("the device side of the transmit queue broke the protocol: {0}")]
    Device(DeviceFault),
    /// The burst is of another pool than the port's.
    #[error("the burst is of another pool than the port")]
    ForeignPool,
    /// The status is one that no call ends with, or names a frame that the burst does not have.
    #[error("the call ended with the unexpected status {0:?}")]
    Unknown(Status),
}

impl TxError {
    /// Returns the index of a frame that this port never takes as it is; `None` if nothing is wrong with a frame.
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

    /// Returns the error of `status`. `named` is the packet that the status names, with its index in the burst now;
    /// `None` if the packet was delivered, or there is no such packet.
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

    /// Returns the same error about the frame at `index`.
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
