//! The status of a call.

use crate::PeerIdx;
use crate::run::RunRefusal;
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The status of a call, as one word. All other bits are 0:
///
/// - bits 7:0: [`Code`]
/// - bits 15:8: [`Clause`] with [`Code::PeerFault`], or [`RunRefusal`] with [`Code::BadRequest`] of a call about runs
/// - bits 23:16: the peer's [`PeerIdx`], with [`Code::PeerFault`], [`Code::PeerNotReady`] and [`Code::TooLong`]
/// - bits 47:32: if bit 48 is set, the index in the request block of the first packet that was refused with this code:
///   one of those three, or [`Code::BadRequest`]
///
/// A status has no default, as every call returns one.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Status(pub u64);

/// The outcome that a [`Status`] tells. A refused packet is always still the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// A peer's ring broke the protocol; the peer is quarantined for this sender.
    PeerFault = 1,
    /// A packet names a peer that is absent, revoked or quarantined.
    PeerNotReady = 2,
    /// The caller made a mistake: more packets than [`super::MAX_BURST`] (no packet is named then), or a packet that
    /// has no bytes, lies outside packet memory, has a header that its peer does not take, names a queue that the peer
    /// does not have, or has an unknown flag. That packet and all behind it are refused.
    BadRequest = 3,
    /// The host ended the call: fault or overrun in the gate or the window.
    Aborted = 4,
    /// The VM has not registered, or its registration was refused.
    NotRegistered = 5,
    /// The host knows no such call.
    Unknown = 6,
    /// Packets that were not accepted found a full ring. They can be sent later.
    Full = 7,
    /// Every packet was accepted. The number is not 0, so that a word that was never written is no success.
    Ok = 8,
    /// A packet is longer than its peer's MTU allows, or than the buffers that its peer gave. That packet is refused,
    /// and those behind it are not.
    TooLong = 9,
}

/// The rule that a peer's ring broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Clause {
    /// `avail.idx` is further ahead than the queue is long. VIRTIO 2.7.6 "The Virtqueue Available Ring".
    AvailIdx = 1,
    /// A descriptor index is not below the queue size. VIRTIO 2.7.5 "The Virtqueue Descriptor Table".
    DescIndex = 2,
    /// A chain is longer than the queue. VIRTIO 2.7.5.2 "Driver Requirements: The Virtqueue Descriptor Table".
    ChainLength = 3,
    /// A receive buffer is not device-writable. VIRTIO 5.1.6.3 "Setting Up Receive Buffers".
    NotWritable = 4,
    /// A buffer is not within the peer's regions.
    Region = 5,
    /// A chain is too short for header and frame. VIRTIO 5.1.6.3 "Setting Up Receive Buffers".
    TooShort = 6,
    /// A feature that was not negotiated was used (such as an indirect table). VIRTIO 2.7.5.3 "Indirect Descriptors".
    NotNegotiated = 7,
    /// The queue's areas are unaligned or outside the regions, or its format allows no such size. VIRTIO 2.7 "Split
    /// Virtqueues", 2.8 "Packed Virtqueues".
    Layout = 8,
    /// An indirect table lies within another one, is not a whole number of descriptors, is too long, or its descriptor
    /// has a `NEXT` flag. VIRTIO 2.7.5.3 "Indirect Descriptors", 2.8.7 "Indirect Flag: Scatter-Gather Support".
    Indirect = 9,
    /// A buffer to be sent is device-writable, or a readable part follows a writable one. VIRTIO 2.7.4.2 "Driver
    /// Requirements: Message Framing".
    NotReadable = 10,
    /// The header of a frame to be sent contradicts the frame or the features. VIRTIO 5.1.6.2 "Packet Transmission".
    Header = 11,
    /// A descriptor within a packed chain is not marked available. VIRTIO 2.8.1 "Driver and Device Ring Wrap Counters".
    NotAvailable = 12,
}

/// The bit of a [`Status`] that names a packet.
const NAMES_PACKET: u64 = 1 << 48;

impl Status {
    /// The status that every packet was accepted.
    pub const OK: Self = Self(Code::Ok as u64);
    /// The status that packets found a full ring.
    pub const FULL: Self = Self(Code::Full as u64);

    /// Returns a status without a peer.
    pub const fn new(code: Code) -> Self {
        Self(code as u64)
    }

    /// Returns a status about `peer`.
    pub const fn of_peer(code: Code, peer: PeerIdx) -> Self {
        Self(code as u64 | (peer.0 as u64) << 16)
    }

    /// Returns the status that `peer` broke `clause`.
    pub const fn peer_fault(clause: Clause, peer: PeerIdx) -> Self {
        Self(Code::PeerFault as u64 | (clause as u64) << 8 | (peer.0 as u64) << 16)
    }

    /// Returns the status that a run was not added or removed.
    pub const fn refused(why: RunRefusal) -> Self {
        Self(Code::BadRequest as u64 | (why as u64) << 8)
    }

    /// Returns why a run was not added or removed; `None` if the status does not say that.
    pub const fn refusal(self) -> Option<RunRefusal> {
        match self.code() {
            Code::BadRequest => RunRefusal::from_number((self.0 >> 8) as u8),
            _ => None,
        }
    }

    /// Returns the same status about the packet at `index` in the request block.
    pub const fn naming(self, index: u16) -> Self {
        Self(self.0 & u32::MAX as u64 | (index as u64) << 32 | NAMES_PACKET)
    }

    /// Returns the index of the packet that the status names; `None` if it names none.
    pub const fn packet(self) -> Option<u16> {
        if self.0 & NAMES_PACKET == 0 { None } else { Some((self.0 >> 32) as u16) }
    }

    /// Returns the code; an undefined number reads as [`Code::Unknown`].
    pub const fn code(self) -> Code {
        match self.0 as u8 {
            1 => Code::PeerFault,
            2 => Code::PeerNotReady,
            3 => Code::BadRequest,
            4 => Code::Aborted,
            5 => Code::NotRegistered,
            7 => Code::Full,
            8 => Code::Ok,
            9 => Code::TooLong,
            _ => Code::Unknown,
        }
    }

    /// Returns the clause; `None` if the status names none.
    pub const fn clause(self) -> Option<Clause> {
        match (self.0 >> 8) as u8 {
            1 => Some(Clause::AvailIdx),
            2 => Some(Clause::DescIndex),
            3 => Some(Clause::ChainLength),
            4 => Some(Clause::NotWritable),
            5 => Some(Clause::Region),
            6 => Some(Clause::TooShort),
            7 => Some(Clause::NotNegotiated),
            8 => Some(Clause::Layout),
            9 => Some(Clause::Indirect),
            10 => Some(Clause::NotReadable),
            11 => Some(Clause::Header),
            12 => Some(Clause::NotAvailable),
            _ => None,
        }
    }

    /// Returns the peer. The value is undefined with a code that names none.
    pub const fn peer(self) -> PeerIdx {
        PeerIdx((self.0 >> 16) as u8)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.code())?;
        match (self.code(), self.clause()) {
            (Code::PeerFault, Some(clause)) => write!(f, "({clause:?}, peer {})", self.peer())?,
            (Code::PeerNotReady | Code::TooLong, _) => write!(f, "(peer {})", self.peer())?,
            _ => {}
        }
        self.packet().map_or(Ok(()), |index| write!(f, ", packet {index}"))
    }
}
