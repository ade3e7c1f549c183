//! The window directory: what a VM may reach. The host writes it, the VM reads it.
//!
//! One page at [`crate::map::DIRECTORY`] of the sluice slot. The host changes `generation` **before** it changes anything else
//! and sets a peer's state word last; a poll of a state word is one load.

use crate::{Gpa, net, virtq};
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of a directory: "SluiceWd".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SluiceWd");
/// Version of this layout. A reader refuses any other.
pub const VERSION: u32 = 1;
/// Peers that one VM can reach.
pub const MAX_PEERS: usize = 8;
/// Memory regions of one peer.
pub const MAX_REGIONS: usize = 8;
/// Queues of one peer that this VM may produce into.
pub const MAX_QUEUES: usize = 4;
/// Bytes of a VM's name, padded with zeros.
pub const NAME_LEN: usize = 16;

/// What a peer's state word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PeerState {
    /// There is no such peer, or its driver is not ready yet.
    Absent = 0,
    /// Send.
    Ready = 1,
    /// Send nothing new; the peer is about to go.
    Draining = 2,
    /// The host took the window away.
    Revoked = 3,
    /// Its rings broke the protocol, or are none: nothing is sent to it until its driver starts its device anew. The host says so of rings that
    /// it could not attach; of what the window found in a call, the window itself says so.
    Quarantined = 4,
}

impl PeerState {
    /// The state that `word` stands for; a word of no meaning reads as [`PeerState::Revoked`], the safe side.
    pub const fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Absent,
            1 => Self::Ready,
            2 => Self::Draining,
            4 => Self::Quarantined,
            _ => Self::Revoked,
        }
    }
}

/// How a VM reaches its peers. Numbers are those of [`Directory::gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum GateKind {
    /// Peer memory is always mapped. No boundary against a hostile kernel.
    Direct = 0,
    /// Peer memory is mapped in a second view. No boundary against a hostile kernel.
    Guarded = 1,
    /// Gate view, then window view, with code of the host's.
    Isolated = 2,
    /// The host runs the ring code: one exit a call.
    Hypercall = 3,
}

impl GateKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Guarded, Self::Isolated, Self::Hypercall];

    /// The kind with number `word`.
    pub const fn from_word(word: u32) -> Option<Self> {
        match word {
            0 => Some(Self::Direct),
            1 => Some(Self::Guarded),
            2 => Some(Self::Isolated),
            3 => Some(Self::Hypercall),
            _ => None,
        }
    }

    /// The name a manifest and a report use, lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Guarded => "guarded",
            Self::Isolated => "isolated",
            Self::Hypercall => "hypercall",
        }
    }
}

/// A run of a peer's memory and where it can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Region {
    /// Start in the peer's own guest-physical space: what its descriptors hold.
    pub gpa: Gpa,
    /// Bytes.
    pub len: u64,
    /// Where it lies in the sender's sluice slot: an offset, see [`crate::map`].
    pub slot_offset: u64,
}

/// One receive queue of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Queue {
    /// Areas, in the peer's guest-physical space.
    pub addresses: virtq::QueueAddresses,
    /// Negotiated features, [`net::F`] bits.
    pub features: u64,
    /// Queue number in the peer's device.
    pub index: u16,
    /// Entries, a power of two.
    pub size: u16,
    /// Which start of the device this is. A queue that starts anew where it was differs in nothing else, and its rings begin anew.
    pub start: u32,
}

/// One VM that the directory's owner may send to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Peer {
    /// [`PeerState`] word. The host writes it last.
    pub state: u32,
    /// The peer's VM id.
    pub vm_id: u32,
    /// Its name, padded with zeros.
    pub name: [u8; NAME_LEN],
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Largest payload of a frame to it, bytes, by what its driver agreed on.
    pub mtu: u16,
    /// Entries of `regions` that count.
    pub region_count: u32,
    /// Entries of `queues` that count.
    pub queue_count: u32,
    /// Its memory.
    pub regions: [Region; MAX_REGIONS],
    /// Its receive queues that are this VM's to fill.
    pub queues: [Queue; MAX_QUEUES],
}

/// A VM's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Directory {
    /// [`MAGIC`]
    pub magic: u64,
    /// [`VERSION`]
    pub version: u32,
    /// The owner's own VM id.
    pub vm_id: u32,
    /// Goes up before anything here changes.
    pub generation: u32,
    /// [`GateKind`] number.
    pub gate: u32,
    /// Entries of `peers` that count.
    pub peer_count: u32,
    /// Zero.
    pub reserved: u32,
    /// The peers; a [`crate::call::Packet`] names one by its place here.
    pub peers: [Peer; MAX_PEERS],
}

const _: () = assert!(size_of::<Region>() == 24 && size_of::<Queue>() == 40);
const _: () = assert!(size_of::<Peer>() == 40 + 24 * MAX_REGIONS + 40 * MAX_QUEUES);
const _: () = assert!(size_of::<Directory>() == 32 + size_of::<Peer>() * MAX_PEERS);
const _: () = assert!(size_of::<Directory>() as u64 <= crate::map::PAGE);
const _: () = assert!(net::RECEIVEQ1 == 0);

impl Default for Directory {
    /// A directory of nobody.
    fn default() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            vm_id: 0,
            generation: 0,
            gate: GateKind::Direct as u32,
            peer_count: 0,
            reserved: 0,
            peers: [Peer::default(); MAX_PEERS],
        }
    }
}

impl Peer {
    /// The name as text, up to the first zero; the empty string where it is not UTF-8.
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|&b| b == 0).unwrap_or(NAME_LEN);
        core::str::from_utf8(&self.name[..end]).unwrap_or("")
    }
}
