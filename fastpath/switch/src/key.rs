//! The flow key: what a flow entry may match of a frame, in a fixed layout.

use bitflags::bitflags;
use core::mem::offset_of;
use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute, transmute_ref};

/// Number of 64-bit words of a [`Key`].
pub const WORDS: usize = size_of::<Key>() / size_of::<u64>();
/// Number of words at the start of a key that hold all of a frame with Ethernet, tags, ARP or IPv4, and a transport
/// header. With the header of an entry they fill one cache line.
pub const SHORT: usize = offset_of!(Key, nsh_path) / size_of::<u64>();

/// The headers that the bytes of a frame prove, and where a flow entry looks first: a field of a header that is not
/// proven is 0 in every key, and the header's bit tells this 0 from a field that is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Layers(u16);

bitflags! {
    impl Layers: u16 {
        /// The outer Ethernet header.
        const ETHERNET = 1;
        /// The outer VLAN tag, of IEEE 802.1Q or 802.1ad.
        const TAG = 1 << 1;
        /// A second VLAN tag. A third one is the EtherType of the key.
        const SECOND_TAG = 1 << 2;
        /// The outer tag is a service tag: its TPID is 0x88a8.
        const SERVICE_TAG = 1 << 3;
        /// The second tag is a service tag.
        const SECOND_SERVICE_TAG = 1 << 4;
        /// The first label stack entry of MPLS. Nothing behind it is read. See: RFC 3032, 2.1.
        const MPLS = 1 << 5;
        /// A network service header of MD type 1 or 2. What follows is of the inner packet. See: RFC 8300, 2.
        const NSH = 1 << 6;
        /// The Ethernet header of the packet in a network service header.
        const INNER = 1 << 7;
        /// ARP for IPv4 over Ethernet, with an operation below 256. See: RFC 826.
        const ARP = 1 << 8;
        /// The IPv4 header, with a total length that the frame holds.
        const IPV4 = 1 << 9;
        /// The IPv6 header, with a payload length that the frame holds.
        const IPV6 = 1 << 10;
        /// The packet is a fragment.
        const FRAGMENT = 1 << 11;
        /// The packet is a fragment, and not the first one: it has no transport header.
        const LATER = 1 << 12;
        /// The header of TCP, UDP, SCTP, ICMP or ICMPv6, whichever the protocol says.
        const TRANSPORT = 1 << 13;
        /// The transport header is that of TCP.
        const TCP = 1 << 14;
        /// A neighbor solicitation or advertisement. See: RFC 4861, 4.3, 4.4.
        const ND = 1 << 15;
    }
}

/// What a flow entry may match of a frame. A mask has the same layout, with the bits set that count.
///
/// The first [`SHORT`] words suffice for a frame with tags, ARP or IPv4, and a transport header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Key {
    /// Destination address of the outer Ethernet header.
    pub destination: [u8; 6],
    /// Number of the port by which the frame came in.
    pub in_port: u16,
    /// Source address of the outer Ethernet header.
    pub source: [u8; 6],
    /// EtherType behind the tags; with [`Layers::NSH`] that of the inner packet.
    pub ether_type: U16,
    /// Source address of IPv4, or sender protocol address of ARP.
    pub ipv4_source: [u8; 4],
    /// Destination address of IPv4, or target protocol address of ARP.
    pub ipv4_destination: [u8; 4],
    /// Headers that the frame has.
    pub layers: Layers,
    /// Tag control information of the tags: priority (15:13), drop eligible (12), VLAN identifier (11:0).
    pub tags: [U16; 2],
    /// Data offset (15:12, always 0 here), reserved bits and flags of TCP. See: RFC 9293, 3.1.
    pub tcp_flags: U16,
    /// Source port of TCP, UDP and SCTP; type of ICMP and ICMPv6.
    pub source_port: U16,
    /// Destination port of TCP, UDP and SCTP; code of ICMP and ICMPv6.
    pub destination_port: U16,
    /// Protocol of IPv4; last next header of IPv6 that the frame proves; operation of ARP.
    pub protocol: u8,
    /// Type of service of IPv4, traffic class of IPv6.
    pub tos: u8,
    /// Time to live of IPv4, hop limit of IPv6.
    pub ttl: u8,
    /// Always 0.
    pub reserved: u8,

    /// Service path identifier (31:8) and service index (7:0) of the network service header.
    pub nsh_path: U32,
    /// Time to live (5:0) of the network service header.
    pub nsh_ttl: u8,
    /// O bit (7) and MD type (3:0) of the network service header.
    pub nsh_kind: u8,
    /// Next protocol of the network service header.
    pub nsh_next: u8,
    /// Always 0.
    pub nsh_reserved: u8,
    /// Source address of IPv6.
    pub ipv6_source: [u8; 16],
    /// Destination address of IPv6.
    pub ipv6_destination: [u8; 16],
    /// Flow label of IPv6 (19:0).
    pub flow_label: U32,
    /// First label stack entry of MPLS: label (31:12), traffic class (11:9), bottom of stack (8), time to live (7:0).
    pub mpls: U32,
    /// Target address of a neighbor solicitation or advertisement; or destination and source address of the inner
    /// Ethernet header, or sender and target hardware address of ARP, and four bytes of 0.
    pub further: [u8; 16],
}

const _: () = assert!(size_of::<Key>() == 104 && SHORT == 5);
const _: () = assert!(offset_of!(Key, source) == 8 && offset_of!(Key, ipv4_source) == 16);
const _: () = assert!(offset_of!(Key, layers) == 24 && offset_of!(Key, source_port) == 32);
const _: () = assert!(offset_of!(Key, ipv6_source) == 48 && offset_of!(Key, further) == 88);

impl Key {
    /// The key of a frame that proves nothing.
    pub(crate) const EMPTY: Self = Self::from_words([0; WORDS]);

    /// Returns the key of these words.
    #[inline(always)]
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        transmute!(words)
    }

    /// Returns the words of the key.
    #[inline(always)]
    pub fn words(&self) -> &[u64; WORDS] {
        transmute_ref!(self)
    }

    /// Returns the key with the bits of `mask` alone.
    pub fn masked(&self, mask: &Self) -> Self {
        let mut words = *self.words();
        words.iter_mut().zip(mask.words()).for_each(|(word, mask)| *word &= mask);
        Self::from_words(words)
    }

    /// Returns whether the key has bits behind its first [`SHORT`] words.
    #[inline(always)]
    pub(crate) fn is_long(&self) -> bool {
        self.words()[SHORT..].iter().any(|&word| word != 0)
    }
}

impl AsRef<Self> for Key {
    #[inline(always)]
    fn as_ref(&self) -> &Self {
        self
    }
}
