//! The key beside what two other parsers make of the same frame, wherever these make something of it.

mod frames;

use etherparse::{EtherType, LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use frames::{Extension, Network, Spec, any_spec, every_kind};
use proptest::prelude::*;
use sluice_switch::{Key, Layers, Parsed};
use smoltcp::wire;

fn key(frame: &[u8]) -> Key {
    Parsed::of(1, frame, frame.len() as u16).key
}

/// Compares with etherparse. Returns how many of network and transport headers it had.
fn beside_etherparse(spec: &Spec) -> usize {
    let frame = spec.bytes();
    let (Ok(packet), key) = (SlicedPacket::from_ethernet(&frame), key(&frame)) else { return 0 };
    if matches!(&spec.network, Network::Ipv6 { extensions, .. } if extensions.len() > 8) {
        return 0;
    }
    for (place, tag) in packet.link_exts.iter().take(2).enumerate() {
        let LinkExtSlice::Vlan(tag) = tag else { panic!("{tag:?}") };
        let control = u16::from(tag.priority_code_point().value()) << 13
            | u16::from(tag.drop_eligible_indicator()) << 12
            | tag.vlan_identifier().value();
        assert_eq!(key.tags[place].get(), control);
        assert!(key.layers.contains([Layers::TAG, Layers::SECOND_TAG][place]));
    }
    let behind_tags = packet.link_exts.len() <= 2;
    let fragmented = match packet.net.as_ref().filter(|_| behind_tags) {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            assert!(key.layers.contains(Layers::IPV4) && key.ether_type.get() == EtherType::IPV4.0);
            assert_eq!((key.ipv4_source, key.ipv4_destination), (header.source(), header.destination()));
            assert_eq!((key.ttl, key.tos), (header.ttl(), header.dcp().value() << 2 | header.ecn().value()));
            assert_eq!(key.protocol, header.protocol().0);
            ip.is_payload_fragmented()
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            assert!(key.layers.contains(Layers::IPV6) && key.ether_type.get() == EtherType::IPV6.0);
            assert_eq!((key.ipv6_source, key.ipv6_destination), (header.source(), header.destination()));
            assert_eq!((key.ttl, key.tos), (header.hop_limit(), header.traffic_class()));
            assert_eq!(key.flow_label.get(), header.flow_label().value());
            ip.is_payload_fragmented()
        }
        Some(NetSlice::Arp(arp)) => {
            let operation = arp.operation().0;
            assert_eq!(key.layers.contains(Layers::ARP), operation < 256);
            assert_eq!(u16::from(key.protocol), if operation < 256 { operation } else { 0 });
            false
        }
        None => return 0,
    };
    assert_eq!(key.layers.contains(Layers::FRAGMENT), fragmented || has_reserved_bits(spec));
    1 + usize::from(transport(&key, packet.transport.as_ref()))
}

/// Returns whether a fragment header has reserved bits. A receiver ignores them (RFC 8200, 4.5), as etherparse does; to
/// a switch, as to Open vSwitch, the packet is a fragment.
fn has_reserved_bits(spec: &Spec) -> bool {
    let Network::Ipv6 { extensions, .. } = &spec.network else { return false };
    extensions.iter().any(|it| matches!(it, Extension::Fragment(bits) if bits & 0b110 != 0))
}

fn transport(key: &Key, transport: Option<&TransportSlice<'_>>) -> bool {
    let wanted = match transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let flags = tcp.slice()[13];
            assert_eq!((key.tcp_flags.get() & 0xff) as u8, flags);
            (6, tcp.source_port(), tcp.destination_port())
        }
        Some(TransportSlice::Udp(udp)) => (17, udp.source_port(), udp.destination_port()),
        Some(TransportSlice::Icmpv4(icmp)) => (1, icmp.type_u8().into(), icmp.code_u8().into()),
        Some(TransportSlice::Icmpv6(icmp)) => (58, icmp.type_u8().into(), icmp.code_u8().into()),
        _ => return false,
    };
    assert!(key.layers.contains(Layers::TRANSPORT));
    assert_eq!((key.protocol, key.source_port.get(), key.destination_port.get()), wanted);
    true
}

/// Compares with smoltcp, which has neither tags nor extension headers in its packets. Returns whether it had one.
fn beside_smoltcp(spec: &Spec) -> bool {
    let frame = spec.bytes();
    let (Ok(ethernet), key) = (wire::EthernetFrame::new_checked(&frame), key(&frame)) else { return false };
    if !spec.tags.is_empty() || spec.nsh.is_some() {
        return false;
    }
    assert_eq!((key.destination, key.source), (ethernet.dst_addr().0, ethernet.src_addr().0));
    match ethernet.ethertype() {
        wire::EthernetProtocol::Ipv4 => {
            let packet = wire::Ipv4Packet::new_checked(ethernet.payload());
            assert_eq!(packet.is_ok(), key.layers.contains(Layers::IPV4));
            let Ok(packet) = packet else { return false };
            assert_eq!(
                (key.ipv4_source, key.ipv4_destination),
                (packet.src_addr().octets(), packet.dst_addr().octets())
            );
            assert_eq!((key.ttl, key.protocol), (packet.hop_limit(), packet.next_header().into()));
            assert_eq!(key.layers.contains(Layers::LATER), packet.frag_offset() != 0);
            assert_eq!(key.layers.contains(Layers::FRAGMENT), packet.frag_offset() != 0 || packet.more_frags());
            packet.frag_offset() != 0 || ports(&key, packet.next_header(), packet.payload())
        }
        wire::EthernetProtocol::Ipv6 => {
            let packet = wire::Ipv6Packet::new_checked(ethernet.payload());
            assert_eq!(packet.is_ok(), key.layers.contains(Layers::IPV6));
            let Ok(packet) = packet else { return false };
            assert_eq!(
                (key.ipv6_source, key.ipv6_destination),
                (packet.src_addr().octets(), packet.dst_addr().octets())
            );
            assert_eq!((key.ttl, key.tos), (packet.hop_limit(), packet.traffic_class()));
            ports(&key, packet.next_header(), packet.payload())
        }
        _ => false,
    }
}

/// Compares the ports, if the transport header is right behind the network header. Returns whether it is there.
fn ports(key: &Key, protocol: wire::IpProtocol, payload: &[u8]) -> bool {
    let wanted = match protocol {
        wire::IpProtocol::Tcp => wire::TcpPacket::new_checked(payload).map(|it| (it.src_port(), it.dst_port())),
        wire::IpProtocol::Udp => wire::UdpPacket::new_checked(payload).map(|it| (it.src_port(), it.dst_port())),
        _ => return false,
    };
    // A port of 0 is no error to a switch.
    let has = key.layers.contains(Layers::TRANSPORT) || key.layers.contains(Layers::FRAGMENT);
    assert!(wanted.is_err() || has);
    wanted.is_ok_and(|wanted| (key.source_port.get(), key.destination_port.get()) == wanted)
}

#[test]
fn every_kind_of_frame_is_what_the_other_parsers_say() {
    let kinds = every_kind();
    let headers: usize = kinds.iter().map(beside_etherparse).sum();
    let ports = kinds.iter().filter(|spec| beside_smoltcp(spec)).count();
    assert!(headers > 300 && ports > 20, "the other parsers had {headers} headers, and ports of {ports} frames");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn random_frames_are_what_the_other_parsers_say(spec in any_spec()) {
        beside_etherparse(&spec);
        beside_smoltcp(&spec);
    }
}
