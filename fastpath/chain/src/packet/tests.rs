use super::*;
use crate::next;
use crate::testing::{chained, with};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use std::vec::Vec;

const PATH: u32 = 0x80_0101;

fn in_chain(inner: &[u8]) -> Vec<u8> {
    chained(63 << 6 | 6, [1, next::ETHERNET], PATH, 255, &[0; 16], inner)
}

/// Returns frames of TCP, UDP, UDP without a checksum, and an echo.
fn frames(payload: &[u8]) -> [Vec<u8>; 4] {
    let builder = || PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [192, 0, 2, 7], 9);
    let mut frames = [const { Vec::new() }; 4];
    builder().tcp(4000, 80, 7, 9).syn().write(&mut frames[0], payload).unwrap();
    builder().udp(4000, 80).write(&mut frames[1], payload).unwrap();
    builder().udp(4000, 80).write(&mut frames[2], payload).unwrap();
    (frames[2][40], frames[2][41]) = (0, 0);
    builder().icmpv4_echo_request(4000, 1).write(&mut frames[3], payload).unwrap();
    frames
}

/// Whether the checksums of the IPv4 frame are right, by etherparse. One of UDP that is 0 is right.
fn checks(frame: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
    let ip = ip.header();
    let transport = match packet.transport.unwrap() {
        TransportSlice::Tcp(tcp) => tcp.calc_checksum_ipv4(ip.source(), ip.destination()).unwrap() == tcp.checksum(),
        TransportSlice::Udp(udp) if udp.checksum() == 0 => true,
        TransportSlice::Udp(udp) => {
            udp.to_header().calc_checksum_ipv4(&ip.to_header(), udp.payload()).unwrap() == udp.checksum()
        }
        TransportSlice::Icmpv4(icmp) => icmp.header().icmp_type.calc_checksum(icmp.payload()) == icmp.checksum(),
        _ => false,
    };
    ip.to_header().calc_header_checksum() == ip.header_checksum() && transport
}

#[test]
fn a_flow_is_that_of_the_inner_packet() {
    let ends = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([192, 0, 2, 7]));
    for (frame, (protocol, ports)) in
        frames(b"abc").iter().zip([(6, [4000, 80]), (17, [4000, 80]), (17, [4000, 80]), (1, [4000; 2])])
    {
        let frame = in_chain(frame);
        let ((flow, flags, way), _) = with(&frame, |frame| {
            let nsh = Nsh::read(frame).unwrap();
            let packet = Packet::new(frame, nsh).unwrap();
            (packet.flow(), packet.tcp_flags(), packet.direction())
        });
        let wanted = Flow { protocol, source: (ends.0, ports[0]), destination: (ends.1, ports[1]) };
        assert_eq!((flow, flags), (Some(wanted), (protocol == 6).then_some(tcp::SYN)));
        assert_eq!((way, wanted.reversed().reversed()), (Direction::Return, wanted));
    }
}

/// The inner packet may be IPv4 without Ethernet, and the header of MD type 2.
#[test]
fn a_flow_is_found_behind_any_header() {
    let [tcp, ..] = frames(b"abc");
    for (first, kinds, context, inner) in [
        (63 << 6 | 6, [1, next::IPV4], &[0; 16][..], &tcp[14..]),
        (63 << 6 | 2, [2, next::IPV4], &[], &tcp[14..]),
        (63 << 6 | 28, [2, next::ETHERNET], &[7; 104], &tcp[..]),
    ] {
        let frame = chained(first, kinds, PATH, 255, context, inner);
        let (flow, after) = with(&frame, |frame| {
            let nsh = Nsh::read(frame).unwrap();
            let mut packet = Packet::new(frame, nsh).unwrap();
            packet.set_source([203, 0, 113, 1].into(), 50_000).unwrap();
            packet.flow().unwrap()
        });
        assert_eq!(flow.source, ([203, 0, 113, 1].into(), 50_000));
        let inner = [&tcp[..14], &after[after.len() - tcp.len() + 14..]].concat();
        assert!(checks(&inner) && inner[26..30] == [203, 0, 113, 1]);
    }
}

#[test]
fn what_is_no_flow_has_none() {
    let [mut tcp, udp, _, mut icmp] = frames(b"abc");
    tcp[20] = 0x20;
    icmp[34] = 3;
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 46]].concat();
    for (inner, ether_type) in
        [(&tcp[..], 0x800), (&udp[..40], 0x800), (&icmp[..], 0x800), (&arp[..], 0x806), (&[1; 13], 0)]
    {
        let frame = in_chain(inner);
        let ((flow, kind, set), after) = with(&frame, |frame| {
            let nsh = Nsh::read(frame).unwrap();
            let mut packet = Packet::new(frame, nsh).unwrap();
            (packet.flow(), packet.ether_type(), packet.set_destination([1; 4].into(), 1))
        });
        assert_eq!((flow, kind, set, after), (None, ether_type, Err(Cause::Protocol), frame), "{inner:02x?}");
    }
}

/// Every field but address, port and checksums stays, and all checksums are right: whatever the port, and for sums that
/// come out as 0.
#[test]
fn new_ends_leave_right_checksums() {
    for payload in [&b""[..], b"abc", &[0xff; 700]] {
        for (number, inner) in frames(payload).into_iter().enumerate() {
            // Of UDP, each sum that there is.
            let all = number == 1 && payload.len() == 3;
            let step = if all { 1 } else { 257 };
            for port in (0..=u16::MAX).step_by(step) {
                let address = if all { [203, 0, 113, 1] } else { [203, port as u8, 113, (port >> 8) as u8] };
                let frame = in_chain(&inner);
                let (set, after) = with(&frame, |frame| {
                    let nsh = Nsh::read(frame).unwrap();
                    let mut packet = Packet::new(frame, nsh)?;
                    if port % 3 == 0 {
                        packet.set_destination(address.into(), port)
                    } else {
                        packet.set_source(address.into(), port)
                    }
                });
                let (after, at) = (&after[38..], if port % 3 == 0 { (30, 36) } else { (26, 34) });
                let port_at = if number == 3 { 38 } else { at.1 };
                assert_eq!(
                    (set, &after[at.0..at.0 + 4], &after[port_at..port_at + 2]),
                    (Ok(()), &address[..], &port.to_be_bytes()[..])
                );
                assert!(checks(after), "{number}, port {port}: {after:02x?}");
                assert!(number != 1 || after[40..42] != [0; 2], "0 would be no checksum");
                assert!(number != 2 || after[40..42] == [0; 2], "there was none");
                let checksum_at = [50, 40, 40, 36][number];
                let may_differ = |byte: usize| {
                    [(24, 26), (at.0, at.0 + 4), (port_at, port_at + 2), (checksum_at, checksum_at + 2)]
                        .iter()
                        .any(|range| (range.0..range.1).contains(&byte))
                };
                assert!((0..inner.len()).all(|byte| may_differ(byte) || after[byte] == inner[byte]));
            }
        }
    }
}
