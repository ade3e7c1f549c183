//! What a frame proves, whole, cut off anywhere, and with lengths that lie.

#[path = "../../tests/frames/mod.rs"]
mod frames;

use super::{Parsed, fast};
use crate::key::{Key, Layers};
use frames::{Extension, Network, NshSpec, Spec, Transport, any_spec, every_kind};
use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::network_endian::{U16, U32};

const PORT: u16 = 7;

fn parse(frame: &[u8]) -> Parsed {
    Parsed::of(PORT, frame, frame.len() as u16)
}

fn key(spec: &Spec) -> Key {
    parse(&spec.bytes()).key
}

fn tcp(options: u8) -> Transport {
    Transport::Tcp { source: 0x1234, destination: 80, flags: 0x12, options }
}

#[test]
fn tcp_over_ipv4_fills_the_first_words() {
    let frame = Spec::new(Network::ipv4(), tcp(0)).bytes();
    let parsed = parse(&frame);
    let wanted = Key {
        destination: frames::DESTINATION,
        in_port: PORT,
        source: frames::SOURCE,
        ether_type: U16::new(0x0800),
        ipv4_source: [10, 0, 0, 1],
        ipv4_destination: [10, 0, 0, 2],
        layers: Layers::ETHERNET | Layers::IPV4 | Layers::TRANSPORT | Layers::TCP,
        tcp_flags: U16::new(0x12),
        source_port: U16::new(0x1234),
        destination_port: U16::new(80),
        protocol: 6,
        tos: 0x28,
        ttl: 64,
        ..Key::default()
    };
    assert_eq!(parsed, Parsed { key: wanted, network: 14, transport: 34, routed: false });
    assert!(!wanted.is_long());
}

#[test]
fn the_plain_frames_take_the_path_of_fixed_offsets() {
    let fast = |spec: &Spec| {
        let mut parsed = Parsed::default();
        fast::parse(&mut parsed, PORT, &spec.bytes(), spec.bytes().len()).map(|()| parsed)
    };
    for network in [Network::ipv4(), Network::ipv6(&[])] {
        for transport in [tcp(0), tcp(3), Transport::Udp { source: 1, destination: 2 }] {
            for tags in [Vec::new(), vec![(false, 0x2005)]] {
                for nsh in [None, Some(NshSpec { md2: None, ethernet: true, path: 0x1234_5678, ttl: 9, o: true })] {
                    let (network, transport) = (network.clone(), transport.clone());
                    let spec = Spec { tags: tags.clone(), nsh, padding: 12, ..Spec::new(network, transport) };
                    assert_eq!(
                        fast(&spec),
                        Some(Parsed::by_steps(PORT, &spec.bytes(), spec.bytes().len() as u16)),
                        "{spec:?}"
                    );
                }
            }
        }
    }
    assert_eq!(fast(&Spec::new(Network::ipv6(&[Extension::Destination(0)]), tcp(0))), None);
}

#[test]
fn two_tags_are_kept_and_a_third_one_is_the_ether_type() {
    let tags = |count| [(true, 0x2005), (false, 0xe006), (false, 3)][..count].to_vec();
    let of = |count| key(&Spec { tags: tags(count), ..Spec::udp4() });
    let two = of(2);
    assert_eq!(two.tags.map(U16::get), [0x2005, 0xe006]);
    let bits = Layers::TAG | Layers::SERVICE_TAG | Layers::SECOND_TAG;
    assert_eq!(two.layers, bits | Layers::ETHERNET | Layers::IPV4 | Layers::TRANSPORT);
    let three = of(3);
    assert_eq!((three.layers, three.ether_type.get()), (bits | Layers::ETHERNET, 0x8100));
    assert_eq!((of(1).tags[0].get(), of(1).destination_port.get()), (0x2005, 53));
}

#[test]
fn the_first_entry_of_mpls_is_kept_and_nothing_below() {
    let key = key(&Spec::new(Network::Mpls(0x1234_51ff), tcp(0)));
    assert_eq!((key.mpls.get(), key.layers), (0x1234_51ff, Layers::ETHERNET | Layers::MPLS));
}

#[test]
fn arp_of_an_assigned_operation_is_kept() {
    let of = |operation| key(&Spec::new(Network::Arp { operation }, tcp(0)));
    let reply = of(2);
    assert_eq!((reply.protocol, reply.layers), (2, Layers::ETHERNET | Layers::ARP));
    assert_eq!((reply.ipv4_source, reply.ipv4_destination), ([10, 0, 0, 1], [10, 0, 0, 2]));
    assert_eq!(reply.further[..12], [frames::SENDER, [0; 6]].concat());
    assert_eq!((of(0x102).protocol, of(0x102).layers), (0, Layers::ETHERNET));
}

#[test]
fn a_fragment_says_which_and_only_the_first_has_ports() {
    let of = |fragment| {
        let Network::Ipv4 { tos, ttl, source, destination, options, .. } = Network::ipv4() else { unreachable!() };
        key(&Spec::new(Network::Ipv4 { tos, ttl, source, destination, options, fragment }, tcp(0)))
    };
    let layers = [0x4000, 0x2000, 0x2001, 1].map(|fragment| of(fragment).layers.difference(Layers::ETHERNET));
    let (ip, later) = (Layers::IPV4, Layers::IPV4 | Layers::FRAGMENT | Layers::LATER);
    let tcp = Layers::TRANSPORT | Layers::TCP;
    assert_eq!(layers, [ip | tcp, ip | tcp | Layers::FRAGMENT, later, later]);
    assert_eq!((of(1).source_port.get(), of(1).protocol, of(0x2000).source_port.get()), (0, 6, 0x1234));
}

#[test]
fn extension_headers_are_followed_up_to_a_bound() {
    use Extension::{Authentication, Destination, Fragment, HopByHop, Routing};
    let of = |extensions: &[Extension]| parse(&Spec::new(Network::ipv6(extensions), tcp(0)).bytes());
    let all = of(&[HopByHop(1), Destination(0), Routing(2, 0), Fragment(0), Authentication(3)]);
    assert_eq!((all.key.protocol, all.key.destination_port.get()), (6, 80));
    assert_eq!((all.network, all.transport, all.routed), (14, 54 + 16 + 8 + 24 + 8 + 24, false));
    assert!(all.key.layers.contains(Layers::IPV6 | Layers::TCP) && !all.key.layers.contains(Layers::FRAGMENT));
    assert!(of(&[Routing(0, 3)]).routed);
    assert!(of(&[Destination(0); 8]).key.layers.contains(Layers::TCP));
    let many = of(&[Destination(0); 9]).key;
    assert_eq!((many.protocol, many.layers), (60, Layers::ETHERNET | Layers::IPV6));
    // Hop-by-hop options stand first or not at all. See: RFC 8200, 4.1.
    assert_eq!(of(&[Destination(0), HopByHop(0)]).key.layers, Layers::ETHERNET | Layers::IPV6);
    // A second fragment header takes back nothing that the first one says.
    assert!(of(&[Fragment(1), Fragment(0)]).key.layers.contains(Layers::FRAGMENT | Layers::TCP));
    let later = of(&[Fragment(0x0101)]).key;
    assert_eq!(later.layers, Layers::ETHERNET | Layers::IPV6 | Layers::FRAGMENT | Layers::LATER);
    assert_eq!((later.protocol, later.source_port.get()), (44, 0));
}

/// A receiver ignores these bits (RFC 8200, 4.5), and Open vSwitch does not: to it the packet is a first fragment.
#[test]
fn a_fragment_header_with_reserved_bits_is_one_of_a_first_fragment() {
    for bits in [0b010, 0b100, 0b110] {
        let key = key(&Spec::new(Network::ipv6(&[Extension::Fragment(bits)]), tcp(0)));
        let transport = Layers::TRANSPORT | Layers::TCP;
        assert_eq!(key.layers, Layers::ETHERNET | Layers::IPV6 | transport | Layers::FRAGMENT, "{bits:#b}");
        assert_eq!((key.protocol, key.destination_port.get()), (6, 80));
    }
}

#[test]
fn the_transport_headers_without_flags_have_ports_or_type_and_code() {
    let of = |network, transport| key(&Spec::new(network, transport));
    let ports = |key: Key| (key.source_port.get(), key.destination_port.get());
    assert_eq!(ports(of(Network::ipv4(), Transport::Sctp { source: 9, destination: 8 })), (9, 8));
    assert_eq!(ports(of(Network::ipv4(), Transport::Icmp { kind: 11, code: 1 })), (11, 1));
    let target = [0xfe; 16];
    let neighbor = of(Network::ipv6(&[]), Transport::Neighbor { kind: 136, target });
    assert_eq!((ports(neighbor), neighbor.further), ((136, 0), target));
    assert!(neighbor.layers.contains(Layers::ND | Layers::TRANSPORT));
    // ICMPv6 over IPv4, and ICMP over IPv6, are neither.
    let crossed = [of(Network::ipv4(), Transport::Other(58)), of(Network::ipv6(&[]), Transport::Other(1))];
    assert!(crossed.iter().all(|key| !key.layers.contains(Layers::TRANSPORT)));
}

#[test]
fn a_network_service_header_is_kept_beside_the_inner_packet() {
    let nsh = |md2, ethernet| Some(NshSpec { md2, ethernet, path: 0x0a0b_0cfe, ttl: 5, o: true });
    let of = |nsh| parse(&Spec { nsh, ..Spec::udp4() }.bytes());
    let inner = Layers::ETHERNET | Layers::NSH | Layers::IPV4 | Layers::TRANSPORT;
    let md1 = of(nsh(None, true));
    assert_eq!((md1.key.layers, md1.network, md1.transport), (inner | Layers::INNER, 52, 72));
    assert_eq!((md1.key.nsh_path, md1.key.nsh_ttl), (U32::new(0x0a0b_0cfe), 5));
    assert_eq!((md1.key.nsh_kind, md1.key.nsh_next, md1.key.ether_type.get()), (0x81, 3, 0x0800));
    assert_eq!(md1.key.destination, frames::DESTINATION);
    assert_eq!(md1.key.further[..12], [frames::INNER_DESTINATION, frames::INNER_SOURCE].concat());
    let md2 = of(nsh(Some(3), false));
    assert_eq!((md2.key.layers, md2.key.nsh_kind, md2.network), (inner, 0x82, 14 + 20));
}

#[test]
fn a_network_service_header_that_lies_is_opaque() {
    let nsh = Some(NshSpec { md2: None, ethernet: true, path: 1, ttl: 1, o: false });
    let frame = Spec { nsh, padding: 20, ..Spec::udp4() }.bytes();
    assert!(parse(&frame).key.layers.contains(Layers::NSH | Layers::TRANSPORT));
    // Version 1, length 5 for MD type 1, MD type 2 with length 1, MD type 3, and a length beyond the frame.
    for lie in [(14, 0x40), (15, 0x45), (16, 3), (15, 0x7f)] {
        let mut frame = frame.clone();
        frame[lie.0] = lie.1;
        let key = parse(&frame).key;
        assert_eq!((key.layers, key.ether_type.get()), (Layers::ETHERNET, 0x894f), "{lie:?}");
    }
    let mut short = frame.clone();
    (short[15], short[16]) = (0x41, 2);
    assert_eq!(parse(&short).key.layers, Layers::ETHERNET);
}

/// CVE-2020-35498: Open vSwitch took a packet behind which the frame has more than 255 bytes for one without an IP
/// header, and the flow that came of it matched too many others.
#[test]
fn padding_of_any_length_hides_no_header() {
    for padding in [0, 1, 255, 256, 1400] {
        let Network::Ipv4 { tos, ttl, source, destination, fragment, .. } = Network::ipv4() else { unreachable!() };
        let options = Network::Ipv4 { tos, ttl, source, destination, options: 1, fragment };
        for network in [Network::ipv4(), options, Network::ipv6(&[]), Network::ipv6(&[Extension::Destination(0)])] {
            let spec = Spec { padding, ..Spec::new(network, tcp(0)) };
            assert_eq!(key(&spec), key(&Spec { padding: 0, ..spec.clone() }));
            assert!(key(&spec).layers.contains(Layers::TCP));
        }
    }
}

/// CVE-2016-10377: Open vSwitch read a transport header that ended behind the total length of its IP packet.
#[test]
fn a_transport_header_ends_with_its_packet() {
    for (transport, len) in [(tcp(0), 20), (Transport::Udp { source: 1, destination: 2 }, 8)] {
        for network in [Network::ipv4(), Network::ipv6(&[])] {
            let spec = Spec { payload: Vec::new(), padding: 100, ..Spec::new(network, transport.clone()) };
            let (at, header) = if spec.ether_type() == 0x0800 { (16, 20) } else { (18, 0) };
            for left in 0..len {
                let mut frame = spec.bytes();
                frame[at..at + 2].copy_from_slice(&(header + left as u16).to_be_bytes());
                let key = parse(&frame).key;
                assert!(!key.layers.intersects(Layers::TRANSPORT | Layers::TCP), "{left}");
                assert!((key.source_port, key.destination_port) == Default::default() && key.tcp_flags == 0);
            }
        }
    }
}

#[test]
fn lengths_that_lie_prove_nothing() {
    let without = |frame: &[u8], at: usize, value: u8, layers: Layers| {
        let mut lying = frame.to_vec();
        lying[at] = value;
        assert!(parse(frame).key.layers.contains(layers), "byte {at}");
        assert!(!parse(&lying).key.layers.intersects(layers), "byte {at} = {value}");
    };
    let v4 = Spec::new(Network::ipv4(), tcp(2)).bytes();
    let v6 = Spec::new(Network::ipv6(&[]), tcp(2)).bytes();
    // A header shorter than it can be, one longer than its packet, and a packet longer than its frame.
    [0x44, 0x40, 0x55].into_iter().for_each(|value| without(&v4, 14, value, Layers::IPV4));
    without(&v4, 14, 0x4f, Layers::TCP);
    [1, 0xff].into_iter().for_each(|value| without(&v4, 16, value, Layers::IPV4));
    without(&v4, 17, 19, Layers::IPV4);
    [0x00, 0x40, 0xf0].into_iter().for_each(|value| without(&v4, 46, value, Layers::TCP));
    without(&v6, 14, 0x40, Layers::IPV6);
    without(&v6, 18, 1, Layers::IPV6);
    [0x00, 0x40, 0xf0].into_iter().for_each(|value| without(&v6, 66, value, Layers::TCP));
    let udp = Spec::udp4().bytes();
    [0, 7, 18, 0xff].into_iter().for_each(|value| without(&udp, 39, value, Layers::TRANSPORT));
    let extended = Spec::new(Network::ipv6(&[Extension::Destination(0)]), tcp(0)).bytes();
    [9, 0xff].into_iter().for_each(|value| without(&extended, 55, value, Layers::TCP));
}

/// The frame of each kind, cut off at each byte, and all of its lengths as they were.
#[test]
fn a_frame_that_is_cut_off_proves_no_more_than_the_whole() {
    let kinds = every_kind();
    assert!(kinds.len() > 800);
    for spec in kinds {
        let frame = spec.bytes();
        let mut before = Layers::empty();
        for len in 0..=frame.len() {
            let cut = parse(&frame[..len]).key.layers;
            assert!(cut.contains(before), "{spec:?}: {before:?} with one byte less, {cut:?} with {len}");
            before = cut;
            // As much of the frame in a head, of which the rest is there but unread.
            let head = Parsed::of(PORT, &frame[..len], frame.len() as u16).key.layers;
            assert!(head.contains(cut) && parse(&frame).key.layers.contains(head), "{spec:?}: {len}");
        }
    }
}

/// Returns whether `whole` has the same fields as `part` in the headers that `part` has.
fn agrees(part: &Key, whole: &Key) -> bool {
    part.masked(&known(part.layers)) == whole.masked(&known(part.layers))
}

/// Returns the fields that a key with these headers has for sure.
fn known(layers: Layers) -> Key {
    let of = |layer, len: usize| if layers.contains(layer) { len } else { 0 };
    let mut key = Key { layers, ..Key::default() };
    key.destination[..of(Layers::ETHERNET, 6)].fill(0xff);
    key.tags[..of(Layers::TAG, 1)].fill(U16::new(0xffff));
    key.ipv4_source[..of(Layers::IPV4, 4)].fill(0xff);
    key.ipv6_source[..of(Layers::IPV6, 16)].fill(0xff);
    if layers.contains(Layers::TRANSPORT) {
        (key.source_port, key.destination_port, key.protocol) = (U16::new(0xffff), U16::new(0xffff), 0xff);
    }
    key
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn both_ways_to_parse_agree(spec in any_spec(), flips in vec(any::<(u8, u8)>(), 0..3), cut in any::<u8>()) {
        let mut frame = spec.bytes();
        for (at, value) in flips {
            let at = usize::from(at) % frame.len();
            frame[at] = value;
        }
        let head = &frame[..frame.len() - usize::from(cut) % frame.len()];
        for len in [head.len(), frame.len()] {
            prop_assert_eq!(Parsed::of(3, head, len as u16), Parsed::by_steps(3, head, len as u16));
        }
    }

    #[test]
    fn a_prefix_is_never_deeper(spec in any_spec(), flip in any::<(u8, u8)>(), cut in any::<u16>()) {
        let mut frame = spec.bytes();
        let at = usize::from(flip.0) % frame.len();
        frame[at] = flip.1;
        let prefix = &frame[..usize::from(cut) % frame.len()];
        let (part, whole) = (parse(prefix).key, parse(&frame).key);
        prop_assert!(whole.layers.contains(part.layers));
        prop_assert!(agrees(&part, &whole), "{:?}\n{:?}", part, whole);
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200), len in any::<u16>()) {
        let parsed = Parsed::of(0, &bytes, len);
        prop_assert!(usize::from(parsed.transport) <= bytes.len().min(len.into()));
    }
}
