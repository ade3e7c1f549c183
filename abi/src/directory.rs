//! The window directory: the peers that a VM may send to. The host writes it, the VM reads it.
//!
//! A [`Header`] and [`MAX_PEERS`] entries ([`Peer`]) behind it, on the pages at [`crate::map::DIRECTORY`] of the sluice
//! slot, written and read as 64-bit words under a sequence number:
//!
//! | the host | a reader |
//! |---|---|
//! | makes the header's `sequence` odd | loads `sequence`, and tries again later while it is odd |
//! | release fence | acquire fence |
//! | writes the `sequence` of each entry that changes: the even number to come | reads entries |
//! | release fence | acquire fence |
//! | writes all that changes, the peers' states last | loads `sequence` again; if it is another, the entries are void |
//! | release fence | |
//! | makes `sequence` even, a number that it never was | |
//!
//! A reader whose loads saw any of the host's writes also sees the odd number when it looks again. So it keeps no entry
//! that is half old and half new, and it does not miss the last change. The `sequence` of an entry tells whether the
//! entry changed since the reader last looked. A host that ends while it writes leaves an odd number: then nobody reads
//! an entry again until a host has written the whole directory. A state word alone is polled by one load.
//!
//! An entry begins [`Header::entry_len`] bytes behind the one before it. Entries of a later host may be longer than a
//! reader's; the reader looks at the part that it knows.

pub use crate::peer_idx::MAX_PEERS;
use crate::{Gpa, net, virtq};
use bitflags::bitflags;
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First word of a directory: "SluiceWd".
pub const MAGIC: u64 = u64::from_le_bytes(*b"SluiceWd");
/// Version of this layout. A reader refuses any other.
pub const VERSION: u32 = 5;
/// Largest number of memory regions of one peer.
pub const MAX_REGIONS: usize = 32;
/// Largest number of queues of one peer that this VM may fill.
pub const MAX_QUEUES: usize = 16;
/// Length of a VM's name in bytes, padded with zeros.
pub const NAME_LEN: usize = 16;

/// The states of a peer. Their numbers are those of [`Peer::state`]; number 2 is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PeerState {
    /// There is no such peer, or its driver is not ready yet. The host may start the peer again.
    Absent = 0,
    /// Frames can be sent to the peer.
    Ready = 1,
    /// The host took the window away, and does not give it back.
    Revoked = 3,
    /// The rings of the peer broke the protocol, or could not be attached: nothing is sent to it until its driver
    /// starts its device anew. The directory tells of rings that could not be attached; the window tells of a rule that
    /// was broken in a call.
    Quarantined = 4,
}

impl PeerState {
    /// Returns the state with number `word`; an undefined number reads as [`PeerState::Revoked`], the safe side.
    pub const fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Absent,
            1 => Self::Ready,
            4 => Self::Quarantined,
            _ => Self::Revoked,
        }
    }
}

bitflags! {
    /// What a VM has beyond the version of its directory.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct HostF: u64 {
        /// The VM has flow memory: see [`crate::flows`].
        const FLOWS = 1;
    }
}

/// The kinds of gates, by which a VM reaches its peers. Their numbers are those of [`Header::gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum GateKind {
    /// The peers' memory is always mapped. There is no boundary against a hostile kernel.
    Direct = 0,
    /// The peers' memory is mapped in a second view. There is no boundary against a hostile kernel.
    Guarded = 1,
    /// The host's window code runs in a window view, behind a gate view.
    Isolated = 2,
    /// The host runs the ring code, at one exit a call.
    Hypercall = 3,
}

impl GateKind {
    /// All kinds in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Guarded, Self::Isolated, Self::Hypercall];

    /// Returns the kind with number `word`; `None` if there is none.
    pub const fn from_word(word: u32) -> Option<Self> {
        match word {
            0 => Some(Self::Direct),
            1 => Some(Self::Guarded),
            2 => Some(Self::Isolated),
            3 => Some(Self::Hypercall),
            _ => None,
        }
    }

    /// Returns the name in manifests and reports, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Guarded => "guarded",
            Self::Isolated => "isolated",
            Self::Hypercall => "hypercall",
        }
    }
}

/// A run of a peer's memory, and where it can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Region {
    /// Address of the first byte in the peer's own guest-physical space: its descriptors hold such addresses.
    pub gpa: Gpa,
    /// Length in bytes.
    pub len: u64,
    /// Offset of the first byte in the sender's sluice slot. See: [`crate::map`].
    pub slot_offset: u64,
}

/// A receive queue of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Queue {
    /// The areas, in the peer's guest-physical space.
    pub addresses: virtq::QueueAddresses,
    /// The features that were negotiated, [`net::F`] bits.
    pub features: u64,
    /// Number of the queue in the peer's device.
    pub index: u16,
    /// Number of entries; of a split queue a power of two.
    pub size: u16,
    /// Counts the starts of the device. A queue that starts anew in the same place differs in this alone, and its rings
    /// begin anew.
    pub start: u32,
    /// Where the rings stand for whoever begins to fill the queue, less where they stand at the driver's start: 0 if
    /// nobody has filled it, else the position in vhost-user's form (message `VHOST_USER_GET_VRING_BASE`), XOR
    /// [`virtq::start`].
    pub base: u32,
    /// The number of the directory's owner in the lock of the queue; 0 if it needs none: then the queue is its own, and
    /// split, or nobody follows how far it came. See: [`crate::queue_lock`].
    pub owner: u16,
    /// Reserved, 0.
    pub reserved: u16,
}

/// A peer: a VM that the directory's owner may send to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Peer {
    /// Number of the [`PeerState`]. The host writes it after all else of a change.
    pub state: u32,
    /// VM id of the peer.
    pub vm_id: u32,
    /// The [`Header::sequence`] of the last change of this entry.
    pub sequence: u64,
    /// Name of the peer, padded with zeros.
    pub name: [u8; NAME_LEN],
    /// MAC address of the peer.
    pub mac: [u8; 6],
    /// Largest payload of a frame to the peer in bytes, as its driver agreed.
    pub mtu: u16,
    /// Number of entries of `regions` that are valid.
    pub region_count: u32,
    /// Number of entries of `queues` that are valid.
    pub queue_count: u32,
    /// The peer's memory that this VM's window maps.
    pub regions: [Region; MAX_REGIONS],
    /// The peer's receive queues that are this VM's to fill.
    pub queues: [Queue; MAX_QUEUES],
}

/// The start of a directory. The host writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`]
    pub magic: u64,
    /// [`VERSION`]
    pub version: u32,
    /// Number of bytes from the start of one entry to the start of the next: a multiple of 8, at least the size of
    /// [`Peer`].
    pub entry_len: u32,
    /// Sequence number: odd while the host writes, and never the same even number twice.
    pub sequence: u64,
    /// Number of the [`GateKind`].
    pub gate: u32,
    /// Number of entries that are valid: those of the peers with an index below this. All others are zero.
    pub peer_count: u32,
    /// Features of the host beyond this version: [`HostF`]. A reader ignores bits that it does not know.
    pub features: u64,
    /// VM id of the directory's owner.
    pub vm_id: u32,
    /// Reserved, 0.
    pub reserved: u32,
    /// The build id of the host's ring code, which is that of the window image ([`crate::build_id`]). It is 0 where the
    /// ring code is the VM's own.
    pub build_id: u64,
    /// Reserved, 0.
    pub spare: u64,
}

/// Length in bytes of a whole directory whose entries have the length of [`Peer`].
pub const LEN: usize = size_of::<Header>() + size_of::<Peer>() * MAX_PEERS;

const _: () = assert!(size_of::<Region>() == 24 && size_of::<Queue>() == 48);
const _: () = assert!(size_of::<Peer>() == 48 + 24 * MAX_REGIONS + 48 * MAX_QUEUES);
const _: () = assert!(size_of::<Header>() == 64 && LEN as u64 <= crate::map::DIRECTORY_LEN);
const _: () = assert!(size_of::<Header>().is_multiple_of(8) && size_of::<Peer>().is_multiple_of(8));
const _: () = assert!(offset_of!(Header, version) == 8 && offset_of!(Header, entry_len) == 12);
const _: () = assert!(offset_of!(Header, sequence) == 16 && offset_of!(Header, features) == 32);
const _: () = assert!(offset_of!(Header, gate) == 24 && offset_of!(Header, peer_count) == 28);
const _: () = assert!(offset_of!(Peer, state) == 0 && offset_of!(Peer, sequence) == 8);
const _: () = assert!(net::receiveq(0) == 0);

/// A directory as the 64-bit words that it is written and read by.
pub mod word {
    use super::{Header, LEN, Peer, offset_of, size_of};

    /// Number of words of a directory whose entries have the length of [`Peer`].
    pub const COUNT: usize = LEN / 8;
    /// Number of words of a header.
    pub const HEADER_LEN: usize = size_of::<Header>() / 8;
    /// The word with [`Header::version`] in its low half and [`Header::entry_len`] in its high half.
    pub const VERSION: usize = offset_of!(Header, version) / 8;
    /// The word that is [`Header::sequence`].
    pub const SEQUENCE: usize = offset_of!(Header, sequence) / 8;
    /// The word with [`Header::gate`] in its low half and [`Header::peer_count`] in its high half.
    pub const GATE: usize = offset_of!(Header, gate) / 8;
    /// The word that is [`Header::features`].
    pub const FEATURES: usize = offset_of!(Header, features) / 8;
    /// The word that is [`Header::build_id`].
    pub const BUILD_ID: usize = offset_of!(Header, build_id) / 8;
    /// Number of words of a peer's entry.
    pub const PEER_LEN: usize = size_of::<Peer>() / 8;
    /// The word of an entry with [`Peer::state`] in its low half.
    pub const PEER_STATE: usize = offset_of!(Peer, state) / 8;
    /// The word of an entry that is [`Peer::sequence`].
    pub const PEER_SEQUENCE: usize = offset_of!(Peer, sequence) / 8;

    /// Returns the first word of the entry of peer `index`, where entries are `entry_len` words apart.
    pub const fn peer(index: usize, entry_len: usize) -> usize {
        HEADER_LEN + index * entry_len
    }
}

impl Default for Header {
    /// Returns the header of a directory without an owner.
    fn default() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            entry_len: size_of::<Peer>() as u32,
            sequence: 0,
            gate: GateKind::Direct as u32,
            peer_count: 0,
            features: 0,
            vm_id: 0,
            reserved: 0,
            build_id: 0,
            spare: 0,
        }
    }
}

impl Peer {
    /// Returns the name as text, up to the first zero; the empty string where it is not UTF-8.
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|&b| b == 0).unwrap_or(NAME_LEN);
        core::str::from_utf8(&self.name[..end]).unwrap_or("")
    }

    /// Returns whether `name` is the whole name of this peer. No peer has an empty name, a name with a zero in it, or
    /// one of more than [`NAME_LEN`] bytes.
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
        let header = Header { sequence: 6, gate: 2, peer_count: 1, entry_len: 4096, ..Header::default() };
        let words: [u64; word::HEADER_LEN] = zerocopy::transmute!(header);
        assert_eq!((words[0], words[word::VERSION]), (MAGIC, 4096 << 32 | u64::from(VERSION)));
        assert_eq!((words[word::SEQUENCE], words[word::GATE]), (6, 1 << 32 | 2));
        let peer = Peer { state: PeerState::Ready as u32, vm_id: 7, sequence: 9, ..Peer::default() };
        let words: [u64; word::PEER_LEN] = zerocopy::transmute!(peer);
        assert_eq!((words[word::PEER_STATE], words[word::PEER_SEQUENCE]), (7 << 32 | 1, 9));
        assert_eq!([0, 1, 63].map(|index| word::peer(index, 200)), [8, 208, 12_608]);
        assert_eq!(word::peer(MAX_PEERS, word::PEER_LEN), word::COUNT);
    }
}
