//! How a call ended.

use crate::PeerIdx;
use crate::run::RunRefusal;
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How a call ended, as one word: bits 7:0 [`Code`], bits 15:8 [`Clause`] (with [`Code::PeerFault`]) or [`RunRefusal`] (with [`Code::BadRequest`] of a
/// call about runs), bits 23:16 the peer's [`PeerIdx`] (with [`Code::PeerFault`], [`Code::PeerNotReady`] and [`Code::TooLong`]), bits 47:32 the
/// index in the request block of the first packet that was refused so, if bit 48 is set: with these codes and [`Code::BadRequest`].
/// All other bits are 0.
///
/// It has no default: a status is what a call returned, and no call returned none.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Status(pub u64);

/// What a [`Status`] says. A refused packet is always still the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// A peer's ring broke the protocol; the peer is quarantined for this sender.
    PeerFault = 1,
    /// A packet names a peer that is absent, draining, revoked or quarantined.
    PeerNotReady = 2,
    /// More packets than [`super::MAX_BURST`] (no packet is named then), or a packet that has no bytes, lies outside the registered packet memory,
    /// has a header that its peer does not take, names a queue that the peer has not, or has an unknown flag: the caller's mistake.
    /// That packet and those behind it are refused.
    BadRequest = 3,
    /// The host ended the call: fault or overrun in the gate or the window.
    Aborted = 4,
    /// The VM has not registered, or registration was refused.
    NotRegistered = 5,
    /// The host knows no such call.
    Unknown = 6,
    /// Packets that were not accepted found a full ring: try later.
    Full = 7,
    /// Every packet was accepted. Not 0, which is what nobody wrote.
    Ok = 8,
    /// A packet is longer than its peer's MTU allows, or than the buffers that its peer gave: it is refused, and those behind it are not.
    TooLong = 9,
}

/// Which rule a peer's ring broke.
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
    /// The queue's areas are unaligned, outside the regions, or its size is none that its format has. VIRTIO 2.7 "Split Virtqueues",
    /// 2.8 "Packed Virtqueues".
    Layout = 8,
    /// An indirect table lies within another one, is no whole number of descriptors, is too long, or its descriptor has a `NEXT` flag.
    /// VIRTIO 2.7.5.3 "Indirect Descriptors", 2.8.7 "Indirect Flag: Scatter-Gather Support".
    Indirect = 9,
    /// A buffer to be sent is device-writable, or a readable part follows a writable one. VIRTIO 2.7.4.2 "Driver Requirements:
    /// Message Framing".
    NotReadable = 10,
    /// The header of a frame to be sent contradicts the frame or the features. VIRTIO 5.1.6.2 "Packet Transmission".
    Header = 11,
    /// A descriptor within a packed chain is not marked available. VIRTIO 2.8.1 "Driver and Device Ring Wrap Counters".
    NotAvailable = 12,
}

/// Bit of a [`Status`] that names a packet.
const NAMES_PACKET: u64 = 1 << 48;

impl Status {
    /// All well.
    pub const OK: Self = Self(Code::Ok as u64);
    /// As much as there was room for.
    pub const FULL: Self = Self(Code::Full as u64);

    /// A status without a peer.
    pub const fn new(code: Code) -> Self {
        Self(code as u64)
    }

    /// A status about `peer`.
    pub const fn of_peer(code: Code, peer: PeerIdx) -> Self {
        Self(code as u64 | (peer.0 as u64) << 16)
    }

    /// `peer` broke `clause`.
    pub const fn peer_fault(clause: Clause, peer: PeerIdx) -> Self {
        Self(Code::PeerFault as u64 | (clause as u64) << 8 | (peer.0 as u64) << 16)
    }

    /// A run was not added or removed, for this reason.
    pub const fn refused(why: RunRefusal) -> Self {
        Self(Code::BadRequest as u64 | (why as u64) << 8)
    }

    /// Why a run was not added or removed, if that is what the status says.
    pub const fn refusal(self) -> Option<RunRefusal> {
        match self.code() {
            Code::BadRequest => RunRefusal::from_number((self.0 >> 8) as u8),
            _ => None,
        }
    }

    /// The same, about the packet at `index` in the request block.
    pub const fn naming(self, index: u16) -> Self {
        Self(self.0 & u32::MAX as u64 | (index as u64) << 32 | NAMES_PACKET)
    }

    /// Index of the packet that the status names, if there is one.
    pub const fn packet(self) -> Option<u16> {
        if self.0 & NAMES_PACKET == 0 { None } else { Some((self.0 >> 32) as u16) }
    }

    /// The code; a number of no meaning reads as [`Code::Unknown`].
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

    /// The clause, if the status names one.
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

    /// The peer; meaningful with the codes that name one.
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
