//! Frames of every kind, made from a description, with right lengths and checksums.
#![allow(dead_code, reason = "each test uses its own part")]

use proptest::collection::vec;
use proptest::prelude::*;

/// A frame.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Whether each tag is a service tag, and its control information.
    pub tags: Vec<(bool, u16)>,
    pub nsh: Option<NshSpec>,
    pub network: Network,
    pub transport: Transport,
    pub payload: Vec<u8>,
    /// Bytes behind the packet.
    pub padding: usize,
}

#[derive(Clone, Debug)]
pub struct NshSpec {
    /// Words of MD type 2 behind the base; MD type 1 otherwise.
    pub md2: Option<u8>,
    /// The inner packet has an Ethernet header.
    pub ethernet: bool,
    pub path: u32,
    pub ttl: u8,
    pub o: bool,
}

#[derive(Clone, Debug)]
pub enum Network {
    Ipv4 { tos: u8, ttl: u8, source: [u8; 4], destination: [u8; 4], options: u8, fragment: u16 },
    Ipv6 { class: u8, label: u32, limit: u8, source: [u8; 16], destination: [u8; 16], extensions: Vec<Extension> },
    Arp { operation: u16 },
    Mpls(u32),
    Other(u16),
}

/// An extension header of a number of 8-byte units beyond the first.
#[derive(Clone, Copy, Debug)]
pub enum Extension {
    HopByHop(u8),
    Destination(u8),
    Routing(u8, u8),
    Fragment(u16),
    Authentication(u8),
}

#[derive(Clone, Debug)]
pub enum Transport {
    Tcp { source: u16, destination: u16, flags: u8, options: u8 },
    Udp { source: u16, destination: u16 },
    Sctp { source: u16, destination: u16 },
    Icmp { kind: u8, code: u8 },
    Neighbor { kind: u8, target: [u8; 16] },
    Other(u8),
}

pub const DESTINATION: [u8; 6] = [2, 0, 0, 0, 0, 0xd];
pub const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 0x5];
pub const INNER_DESTINATION: [u8; 6] = [6, 0, 0, 0, 0, 0xd];
pub const INNER_SOURCE: [u8; 6] = [6, 0, 0, 0, 0, 0x5];
pub const SENDER: [u8; 6] = [2, 9, 8, 7, 6, 5];

/// Returns the sum of the 16-bit words of `parts` with end-around carry, by the plainest way there is.
pub fn ones_sum(parts: &[&[u8]]) -> u16 {
    let all = parts.concat();
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u64 = all.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

impl Spec {
    pub fn new(network: Network, transport: Transport) -> Self {
        Self { tags: vec![], nsh: None, network, transport, payload: vec![7; 9], padding: 0 }
    }

    pub fn udp4() -> Self {
        Self::new(Network::ipv4(), Transport::Udp { source: 0x1234, destination: 53 })
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = [DESTINATION, SOURCE].concat();
        for (service, control) in &self.tags {
            frame.extend(if *service { 0x88a8_u16 } else { 0x8100 }.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        let packet = self.packet();
        match &self.nsh {
            None => frame.extend(self.ether_type().to_be_bytes()),
            Some(nsh) => frame.extend(nsh.bytes(self.ether_type())),
        }
        frame.extend(packet);
        frame.resize(frame.len() + self.padding, 0xee);
        frame
    }

    /// Number of bytes before the packet of the network layer.
    pub fn network_at(&self) -> usize {
        let nsh = self.nsh.as_ref().map_or(0, |nsh| nsh.bytes(0).len() - 2);
        14 + 4 * self.tags.len() + nsh
    }

    pub fn ether_type(&self) -> u16 {
        match self.network {
            Network::Ipv4 { .. } => 0x0800,
            Network::Ipv6 { .. } => 0x86dd,
            Network::Arp { .. } => 0x0806,
            Network::Mpls(_) => 0x8847,
            Network::Other(ether_type) => ether_type,
        }
    }

    fn packet(&self) -> Vec<u8> {
        match &self.network {
            Network::Ipv4 { tos, ttl, source, destination, options, fragment } => {
                let segment = self.transport.bytes(&self.payload, source, destination);
                let len = 20 + 4 * usize::from(*options);
                let mut header = vec![0x40 | (len / 4) as u8, *tos];
                header.extend(((len + segment.len()) as u16).to_be_bytes());
                header.extend([0x12, 0x34]);
                header.extend(fragment.to_be_bytes());
                header.extend([*ttl, self.transport.protocol(false), 0, 0]);
                header.extend([*source, *destination].concat());
                header.resize(len, 1);
                let sum = !ones_sum(&[&header]);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                [header, segment].concat()
            }
            Network::Ipv6 { class, label, limit, source, destination, extensions } => {
                let segment = self.transport.bytes(&self.payload, source, destination);
                let (first, chain) = chain(extensions, self.transport.protocol(true));
                let word = 6 << 28 | u32::from(*class) << 20 | label & 0xf_ffff;
                let mut header = word.to_be_bytes().to_vec();
                header.extend(((chain.len() + segment.len()) as u16).to_be_bytes());
                header.extend([first, *limit]);
                [header, source.to_vec(), destination.to_vec(), chain, segment].concat()
            }
            Network::Arp { operation } => {
                let start = [&[0, 1, 8, 0, 6, 4][..], &operation.to_be_bytes(), &SENDER].concat();
                [&start, &[10, 0, 0, 1][..], &[0; 6], &[10, 0, 0, 2]].concat()
            }
            Network::Mpls(entry) => [&entry.to_be_bytes()[..], &[0x45; 40]].concat(),
            Network::Other(_) => self.payload.clone(),
        }
    }
}

impl NshSpec {
    /// Returns the EtherType, the header, and the inner Ethernet header or nothing.
    fn bytes(&self, inner: u16) -> Vec<u8> {
        let words = self.md2.map_or(6, |words| words + 2);
        let first = u16::from(self.o) << 13 | u16::from(self.ttl) << 6 | u16::from(words);
        let next = if self.ethernet { 3 } else { 1 + u8::from(inner == 0x86dd) };
        let mut bytes = 0x894f_u16.to_be_bytes().to_vec();
        bytes.extend(first.to_be_bytes());
        bytes.extend([1 + u8::from(self.md2.is_some()), next]);
        bytes.extend(self.path.to_be_bytes());
        bytes.resize(2 + 4 * usize::from(words), 0xcc);
        if self.ethernet {
            bytes.extend([INNER_DESTINATION, INNER_SOURCE].concat());
            bytes.extend(inner.to_be_bytes());
        }
        bytes
    }
}

impl Network {
    pub fn ipv4() -> Self {
        let (source, destination) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        Self::Ipv4 { tos: 0x28, ttl: 64, source, destination, options: 0, fragment: 0x4000 }
    }

    pub fn ipv6(extensions: &[Extension]) -> Self {
        let [mut source, mut destination] = [[0xfd; 16]; 2];
        (source[15], destination[15]) = (1, 2);
        let extensions = extensions.to_vec();
        Self::Ipv6 { class: 0x28, label: 0x4_5678, limit: 64, source, destination, extensions }
    }
}

/// Returns the number of the first header, and all extension headers.
fn chain(extensions: &[Extension], last: u8) -> (u8, Vec<u8>) {
    let (mut next, mut all) = (last, vec![]);
    for extension in extensions.iter().rev() {
        let (number, mut header) = extension.bytes();
        header[0] = next;
        all.splice(..0, header);
        next = number;
    }
    (next, all)
}

impl Extension {
    fn bytes(self) -> (u8, Vec<u8>) {
        let units = |units: u8, rest: [u8; 2]| {
            let mut bytes = vec![0, units, rest[0], rest[1]];
            bytes.resize(8 + 8 * usize::from(units), 0);
            bytes
        };
        match self {
            Self::HopByHop(more) => (0, units(more, [1, 4])),
            Self::Destination(more) => (60, units(more, [1, 4])),
            Self::Routing(more, left) => (43, units(more, [2, left])),
            Self::Fragment(fragment) => (44, [&[0, 0][..], &fragment.to_be_bytes(), &[0, 0, 0, 9]].concat()),
            Self::Authentication(more) => {
                let mut bytes = vec![0, 1 + more, 0, 0];
                bytes.resize(12 + 4 * usize::from(more), 0);
                (51, bytes)
            }
        }
    }
}

impl Transport {
    pub fn protocol(&self, v6: bool) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Sctp { .. } => 132,
            Self::Icmp { .. } | Self::Neighbor { .. } => {
                if v6 {
                    58
                } else {
                    1
                }
            }
            Self::Other(protocol) => *protocol,
        }
    }

    /// Returns header and payload, with the checksum for these addresses.
    fn bytes(&self, payload: &[u8], source: &[u8], destination: &[u8]) -> Vec<u8> {
        let v6 = source.len() == 16;
        let ports = |source: &u16, destination: &u16| [source.to_be_bytes(), destination.to_be_bytes()].concat();
        let (mut segment, checksum) = match self {
            Self::Tcp { source, destination, flags, options } => {
                let mut header = [ports(source, destination), vec![0; 8]].concat();
                header.extend([(5 + options) << 4, *flags, 1, 2, 0, 0, 0, 0]);
                header.resize(20 + 4 * usize::from(*options), 1);
                (header, Some(16))
            }
            Self::Udp { source, destination } => {
                let len = (8 + payload.len()) as u16;
                ([ports(source, destination), len.to_be_bytes().to_vec(), vec![0, 0]].concat(), Some(6))
            }
            Self::Sctp { source, destination } => ([ports(source, destination), vec![0; 8]].concat(), None),
            Self::Icmp { kind, code } => (vec![*kind, *code, 0, 0, 0, 1, 0, 2], v6.then_some(2)),
            Self::Neighbor { kind, target } => ([&[*kind, 0, 0, 0, 0, 0, 0, 0][..], target].concat(), v6.then_some(2)),
            Self::Other(_) => (vec![], None),
        };
        segment.extend(payload);
        if let Some(at) = checksum {
            let rest = [(segment.len() as u32).to_be_bytes(), u32::from(self.protocol(v6)).to_be_bytes()].concat();
            let sum = !ones_sum(&[source, destination, &rest, &segment]);
            let sum = if sum == 0 && at == 6 { 0xffff } else { sum };
            segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        segment
    }
}

/// Returns a frame of every kind: each network header with each transport header, and each way to carry them.
pub fn every_kind() -> Vec<Spec> {
    let (s, d) = (0x1234, 0x5678);
    let transports = [
        Transport::Tcp { source: s, destination: d, flags: 0x12, options: 0 },
        Transport::Tcp { source: s, destination: d, flags: 0x10, options: 3 },
        Transport::Udp { source: s, destination: d },
        Transport::Sctp { source: s, destination: d },
        Transport::Icmp { kind: 8, code: 0 },
        Transport::Neighbor { kind: 135, target: [0xfe; 16] },
        Transport::Other(47),
    ];
    let Network::Ipv4 { tos, ttl, source, destination, .. } = Network::ipv4() else { unreachable!() };
    let ipv4 = |options, fragment| Network::Ipv4 { tos, ttl, source, destination, options, fragment };
    use Extension::{Authentication, Destination, Fragment, HopByHop, Routing};
    let all = [HopByHop(1), Routing(2, 0), Destination(0), Authentication(2), Fragment(0)];
    let [first, later, reserved] = [1, 0x0100, 0b110].map(|bits| [Fragment(bits)]);
    let chains: [&[Extension]; 8] =
        [&[], &all[..1], &all, &first, &later, &reserved, &[Routing(2, 1)], &[Destination(0); 9]];
    let mut networks = vec![ipv4(0, 0x4000), ipv4(10, 0), ipv4(0, 0x2000), ipv4(1, 0x2010), ipv4(0, 0x0010)];
    networks.extend(chains.map(Network::ipv6));
    networks.extend([Network::Arp { operation: 1 }, Network::Mpls(0x12345), Network::Other(0x88cc)]);
    let specs = networks.iter().flat_map(|network| transports.iter().map(|it| Spec::new(network.clone(), it.clone())));
    specs.flat_map(|spec| carried(&spec)).collect()
}

/// Returns the frame behind each kind of tags and in each kind of network service header.
fn carried(spec: &Spec) -> Vec<Spec> {
    let tags = [vec![], vec![(false, 5)], vec![(true, 5), (false, 0xe006)], vec![(true, 1), (true, 2), (false, 3)]];
    let nsh = |md2, ethernet| Some(NshSpec { md2, ethernet, path: 0x0001_02ff, ttl: 63, o: ethernet });
    let ip = matches!(spec.network, Network::Ipv4 { .. } | Network::Ipv6 { .. });
    let plain = tags.into_iter().map(|tags| (tags, None));
    let wrapped = [nsh(None, true), nsh(Some(0), true), nsh(Some(4), !ip), nsh(None, !ip)].map(|nsh| (vec![], nsh));
    plain.chain(wrapped).map(|(tags, nsh)| Spec { tags, nsh, padding: 11, ..spec.clone() }).collect()
}

/// Returns frames with random fields.
pub fn any_spec() -> impl Strategy<Value = Spec> {
    let tags = vec((any::<bool>(), any::<u16>()), 0..3);
    let nsh = (proptest::option::of(0u8..4), any::<bool>(), any::<u32>(), 0u8..64, any::<bool>())
        .prop_map(|(md2, ethernet, path, ttl, o)| NshSpec { md2, ethernet, path, ttl, o });
    let nsh = proptest::option::weighted(0.2, nsh);
    let all = (tags, nsh, any_network(), any_transport(), vec(any::<u8>(), 0..40), 0usize..300);
    all.prop_map(|(tags, nsh, network, transport, payload, padding)| {
        let ip = matches!(network, Network::Ipv4 { .. } | Network::Ipv6 { .. });
        let nsh = nsh.map(|nsh| NshSpec { ethernet: nsh.ethernet || !ip, ..nsh });
        Spec { tags, nsh, network, transport, payload, padding }
    })
}

fn any_network() -> impl Strategy<Value = Network> {
    let fragment = prop_oneof![4 => Just(0u16), 1 => Just(0x4000), 1 => any::<u16>().prop_map(|it| it & 0x7fff)];
    let ipv4 = (any::<[u8; 2]>(), any::<[u8; 8]>(), prop_oneof![3 => Just(0u8), 1 => 0u8..11], fragment);
    let ipv4 = ipv4.prop_map(|([tos, ttl], [a, b, c, d, e, f, g, h], options, fragment)| Network::Ipv4 {
        tos,
        ttl,
        source: [a, b, c, d],
        destination: [e, f, g, h],
        options,
        fragment,
    });
    let extension = prop_oneof![
        (0u8..3).prop_map(Extension::Destination),
        (0u8..3, 0u8..2).prop_map(|(more, left)| Extension::Routing(more, left)),
        (0u8..3).prop_map(Extension::Authentication),
        prop_oneof![Just(0u16), Just(1), Just(0b110), any::<u16>()].prop_map(Extension::Fragment),
    ];
    let extensions = (proptest::option::weighted(0.2, 0u8..3), vec(extension, 0..4))
        .prop_map(|(hop, rest)| hop.map(Extension::HopByHop).into_iter().chain(rest).collect::<Vec<_>>());
    let extensions = prop_oneof![1 => Just(vec![]), 1 => extensions];
    let ipv6 = (any::<[u8; 2]>(), any::<u32>(), any::<[[u8; 16]; 2]>(), extensions);
    let ipv6 = ipv6.prop_map(|([class, limit], label, [source, destination], extensions)| Network::Ipv6 {
        class,
        label: label & 0xf_ffff,
        limit,
        source,
        destination,
        extensions,
    });
    let arp = (0u16..300).prop_map(|operation| Network::Arp { operation });
    let mpls = any::<u32>().prop_map(Network::Mpls);
    prop_oneof![6 => ipv4, 6 => ipv6, 1 => arp, 1 => mpls, 1 => Just(Network::Other(0x88cc))]
}

fn any_transport() -> impl Strategy<Value = Transport> {
    let ports = || any::<(u16, u16)>();
    let tcp = (ports(), any::<u8>(), 0u8..11).prop_map(|((source, destination), flags, options)| Transport::Tcp {
        source,
        destination,
        flags,
        options,
    });
    let udp = ports().prop_map(|(source, destination)| Transport::Udp { source, destination });
    let sctp = ports().prop_map(|(source, destination)| Transport::Sctp { source, destination });
    let icmp = any::<(u8, u8)>().prop_map(|(kind, code)| Transport::Icmp { kind, code });
    let neighbor = (135u8..137, any::<[u8; 16]>()).prop_map(|(kind, target)| Transport::Neighbor { kind, target });
    let other = Just(Transport::Other(47));
    prop_oneof![4 => tcp, 4 => udp, 1 => sctp, 1 => icmp, 1 => neighbor, 1 => other]
}
