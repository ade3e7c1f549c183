//! The window directory: what a VM may reach. The host writes it, the VM reads it.
//!
//! One page at [`crate::map::DIRECTORY`] of the sluice slot, written and read as 64-bit words under a sequence number:
//!
//! | the host | a reader |
//! |---|---|
//! | makes `sequence` odd | loads `sequence`; if it is odd, the host is writing: later |
//! | release fence | acquire fence |
//! | writes all that changes, state words last | reads what it wants |
//! | release fence | acquire fence |
//! | makes `sequence` even, a number that it never was | loads `sequence` again: if it is another, what was read is void |
//!
//! A reader whose loads saw any of the host's writes sees the odd number, too, when it looks again: so it keeps no entry that is half old
//! and half new, and it does not miss the last change. A host that ends while it writes leaves an odd number: then nobody reads an entry
//! again until a host has written the whole directory. A state word alone is polled by one load.

use crate::{Gpa, net, virtq};
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of a directory: "SluiceWd".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SluiceWd");
/// Version of this layout. A reader refuses any other.
pub const VERSION: u32 = 2;
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
    /// There is no such peer, or its driver is not ready yet: it may be one that the host starts again.
    Absent = 0,
    /// Send.
    Ready = 1,
    /// Send nothing new; the peer is about to go.
    Draining = 2,
    /// The host took the window away, and does not give it back.
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
    /// Entries; of a split queue a power of two.
    pub size: u16,
    /// Which start of the device this is. A queue that starts anew where it was differs in nothing else, and its rings begin anew.
    pub start: u32,
}

/// One VM that the directory's owner may send to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Peer {
    /// [`PeerState`] word. The host writes it after all else of a change.
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
    /// Odd while the host writes; never the same twice.
    pub sequence: u64,
    /// [`GateKind`] number.
    pub gate: u32,
    /// Entries of `peers` that count.
    pub peer_count: u32,
    /// The peers; a [`crate::call::Packet`] names one by its place here.
    pub peers: [Peer; MAX_PEERS],
}

const _: () = assert!(size_of::<Region>() == 24 && size_of::<Queue>() == 40);
const _: () = assert!(size_of::<Peer>() == 40 + 24 * MAX_REGIONS + 40 * MAX_QUEUES);
const _: () = assert!(size_of::<Directory>() == 32 + size_of::<Peer>() * MAX_PEERS);
const _: () = assert!(size_of::<Directory>() as u64 <= crate::map::PAGE);
const _: () = assert!(size_of::<Directory>().is_multiple_of(8) && size_of::<Peer>().is_multiple_of(8));
const _: () = assert!(offset_of!(Directory, sequence) == 16 && offset_of!(Directory, peers) == 32);
const _: () = assert!(offset_of!(Directory, gate) == 24 && offset_of!(Directory, peer_count) == 28);
const _: () = assert!(offset_of!(Peer, state) == 0);
const _: () = assert!(net::RECEIVEQ1 == 0);

/// A directory as the 64-bit words that it is written and read by.
pub mod word {
    use super::{Directory, Peer, offset_of, size_of};

    /// Words of a directory.
    pub const COUNT: usize = size_of::<Directory>() / 8;
    /// The word that is [`Directory::sequence`].
    pub const SEQUENCE: usize = offset_of!(Directory, sequence) / 8;
    /// The word with [`Directory::gate`] in its low half and [`Directory::peer_count`] in its high half.
    pub const GATE: usize = offset_of!(Directory, gate) / 8;
    /// Words of a peer's entry.
    pub const PEER_LEN: usize = size_of::<Peer>() / 8;

    /// First word of the entry of the peer at place `index`; [`Peer::state`] is its low half.
    pub const fn peer(index: usize) -> usize {
        offset_of!(Directory, peers) / 8 + index * PEER_LEN
    }

    /// Whether a state is in word `index`.
    pub const fn is_state(index: usize) -> bool {
        index >= peer(0) && (index - peer(0)).is_multiple_of(PEER_LEN)
    }
}

impl Default for Directory {
    /// A directory of nobody.
    fn default() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            vm_id: 0,
            sequence: 0,
            gate: GateKind::Direct as u32,
            peer_count: 0,
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

    /// Whether `name` is its name, all of it. Nobody is named by the empty string, by one with a zero in it, or by one of more than
    /// [`NAME_LEN`] bytes.
    pub fn is_named(&self, name: &str) -> bool {
        let mut padded = [0; NAME_LEN];
        let fits = !name.is_empty() && name.len() <= NAME_LEN && !name.as_bytes().contains(&0);
        padded.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        fits && self.name == padded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(bytes: &[u8]) -> Peer {
        let mut peer = Peer::default();
        peer.name[..bytes.len()].copy_from_slice(bytes);
        peer
    }

    #[test]
    fn a_peer_answers_to_its_whole_name_and_nothing_else() {
        for name in ["b", "firewall", "sixteen-letters-"] {
            assert!(named(name.as_bytes()).is_named(name));
        }
        for other in [
            "",
            "\0",
            "b\0",
            "b\0\0",
            "bb",
            "B",
            "b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(!named(b"b").is_named(other), "{other:?}");
        }
        assert!(!named(b"sixteen-letters-").is_named("sixteen-letters-and"));
        for nobody in [&b""[..], b"\0b", b"b\0c", b"\xff"] {
            assert!(["", "b", "c", "\0b", "b\0c"].iter().all(|name| !named(nobody).is_named(name)), "{nobody:?}");
        }
    }

    #[test]
    fn the_words_of_a_directory_are_its_fields() {
        let mut directory = Directory { sequence: 6, gate: 2, peer_count: 1, ..Directory::default() };
        directory.peers[1].state = PeerState::Ready as u32;
        let words: [u64; word::COUNT] = zerocopy::transmute!(directory);
        assert_eq!((words[0], words[word::SEQUENCE], words[word::GATE]), (MAGIC, 6, 1 << 32 | 2));
        assert_eq!((words[word::peer(1)] as u32, words[word::peer(1) - 1]), (PeerState::Ready as u32, 0));
        let states = (0..word::COUNT).filter(|&index| word::is_state(index));
        assert!(states.eq((0..MAX_PEERS).map(word::peer)));
    }
}
