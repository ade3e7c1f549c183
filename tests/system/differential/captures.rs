//! Frames, and which flow they are of.

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::pcapng::{Block, PcapNgReader};
use std::time::Duration;

/// Returns whether a frame can go through both: Open vSwitch hangs up on shorter ones, and a device takes no payload of
/// more than 1,500 bytes.
pub fn is_fit(frame: &[u8]) -> bool {
    (14..=1514).contains(&frame.len())
}

/// Returns the Ethernet frames of a capture file of either format, as far as it can be read.
pub fn read(file: &[u8]) -> Vec<Vec<u8>> {
    if let Ok(mut reader) = PcapReader::new(file) {
        let is_ethernet = reader.header().datalink == DataLink::ETHERNET;
        let packets = std::iter::from_fn(|| Some(reader.next_packet()?.ok()?.data.into_owned()));
        return if is_ethernet { packets.collect() } else { Vec::new() };
    }
    let Ok(mut reader) = PcapNgReader::new(file) else { return Vec::new() };
    let mut frames = Vec::new();
    while let Some(Ok(block)) = reader.next_block() {
        let (interface, data) = match block {
            Block::EnhancedPacket(packet) => (packet.interface_id, packet.data.into_owned()),
            Block::SimplePacket(packet) => (0, packet.data.into_owned()),
            _ => continue,
        };
        let link = reader.interfaces().get(interface as usize).map(|interface| interface.linktype);
        if link == Some(DataLink::ETHERNET) {
            frames.push(data);
        }
    }
    frames
}

/// Returns a capture file of `frames`.
pub fn write(frames: &[Vec<u8>]) -> Vec<u8> {
    let header = PcapHeader { datalink: DataLink::ETHERNET, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(Vec::new(), header).expect("a header");
    for frame in frames {
        writer.write_packet(&PcapPacket::new(Duration::ZERO, frame.len() as u32, frame)).expect("room");
    }
    writer.into_writer()
}

/// Returns `rounds` frames of each of `flows` flows, in turns. Each is another one: of UDP over IPv4 from a station of
/// its own, most; and some of IPv6, with a tag, and such that are dropped.
pub fn synthetic(flows: u32, rounds: u32) -> Vec<Vec<u8>> {
    let all = (0..rounds).flat_map(|round| (0..flows).map(move |flow| (flow, round)));
    all.map(|(flow, round)| synthetic_frame(flow, round)).collect()
}

fn synthetic_frame(flow: u32, round: u32) -> Vec<u8> {
    let [_, high, middle, low] = flow.to_be_bytes();
    let payload = [&flow.to_be_bytes()[..], &round.to_be_bytes(), &vec![0xa5; (flow as usize * 7 + 20) % 400]].concat();
    // Port 9 is that of frames that are dropped.
    let to = if flow % 10 == 9 { 9 } else { 4_789_u16 };
    let len = (8 + payload.len() as u16).to_be_bytes();
    let udp =
        [&(1_024 + (flow % 50_000) as u16).to_be_bytes()[..], &to.to_be_bytes(), &len, &[0, 0], &payload].concat();
    let (kind, packet) = if flow % 10 == 7 {
        (0x86dd, ipv6([high, middle, low], &udp))
    } else {
        (0x0800, ipv4([high, middle, low], &udp))
    };
    let tag: &[u8] = if flow % 10 == 5 { &[0x81, 0, 0, 10] } else { &[] };
    [&[2, 0, 0, 0, 0, 2][..], &[2, 1, 0, high, middle, low], tag, &u16::to_be_bytes(kind), &packet].concat()
}

/// Returns the numbers of flow and round of a frame of [`synthetic`] without a tag.
pub fn numbers_of(frame: &[u8]) -> [u32; 2] {
    let at = if frame[12..14] == [0x86, 0xdd] { 62 } else { 42 };
    let numbers = frame[at..at + 8].as_chunks().0;
    [numbers[0], numbers[1]].map(u32::from_be_bytes)
}

fn ipv4([high, middle, low]: [u8; 3], udp: &[u8]) -> Vec<u8> {
    let [len, more] = (20 + udp.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, len, more, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, high, middle, low, 192, 0, 2, 1];
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    [packet, udp.to_vec()].concat()
}

fn ipv6(address: [u8; 3], udp: &[u8]) -> Vec<u8> {
    let [len, more] = (udp.len() as u16).to_be_bytes();
    let source = [&[0xfd; 1][..], &[0; 12], &address].concat();
    let destination = [&[0xfd; 1][..], &[0; 14], &[1]].concat();
    [&[0x60, 0, 0, 0, len, more, 17, 64][..], &source, &destination, udp].concat()
}

/// Returns what the frames of one flow have in common: addresses and type; of IP its addresses and protocol, whether it
/// is a first or a later fragment, and unless it is a later one the ports of TCP, UDP and SCTP, or type and code of
/// ICMP; of ARP the addresses of IP. A packet whose header lies, and one behind a network service header, counts as
/// alone in its flow: who may overtake it nobody promises.
pub fn flow_of(frame: &[u8]) -> Vec<u8> {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8])) {
        at += 4;
    }
    let kind = frame.get(at..at + 2).unwrap_or_default();
    let packet = frame.get(at + 2..).unwrap_or_default();
    let rest = match kind {
        [8, 0] => ipv4_flow(packet),
        [0x86, 0xdd] => ipv6_flow(packet),
        [8, 6] => arp_flow(packet),
        [0x89, 0x4f] => None,
        _ => Some(Vec::new()),
    };
    [&frame[..12], kind, &rest.unwrap_or_else(|| packet.to_vec())].concat()
}

/// Returns the addresses of ARP for IPv4 over Ethernet.
fn arp_flow(packet: &[u8]) -> Option<Vec<u8>> {
    let kinds = packet.get(..7).filter(|kinds| *kinds == [0, 1, 8, 0, 6, 4, 0]);
    kinds.and_then(|_| Some([packet.get(14..18)?, packet.get(24..28)?].concat()))
}

fn ipv4_flow(packet: &[u8]) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let (whole, header) = (inside(packet, len)?, 4 * usize::from(packet[0] & 15));
    if packet[0] >> 4 != 4 || header < 20 {
        return None;
    }
    let (more, is_later) = (*whole.get(6)? & 0x20, whole[6] & 0x1f != 0 || *whole.get(7)? != 0);
    let ports = if is_later { &[][..] } else { ports(whole[9], whole.get(header..)?)? };
    Some([whole.get(9..10)?, whole.get(12..20)?, &[more, is_later.into()], ports].concat())
}

fn ipv6_flow(packet: &[u8]) -> Option<Vec<u8>> {
    let len = 40 + usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
    let whole = inside(packet, len)?;
    let (mut next, mut at, mut fragment) = (whole[6], 40, [0; 2]);
    while let (0 | 43 | 44 | 51 | 60, [0, 0]) = (next, fragment) {
        let header = whole.get(at..at + 8)?;
        if next == 44 {
            fragment = [header[2], header[3]];
        }
        at += match next {
            44 => 8,
            51 => 4 * (usize::from(header[1]) + 2),
            _ => 8 * (usize::from(header[1]) + 1),
        };
        next = header[0];
    }
    let is_later = fragment[0] != 0 || fragment[1] & 0xf8 != 0;
    let ports = if is_later || fragment != [0, 0] { &[][..] } else { ports(next, whole.get(at..)?)? };
    let is_first = fragment != [0, 0] && !is_later;
    Some([whole.get(6..7)?, whole.get(8..40)?, &[next, is_first.into(), is_later.into()], ports].concat())
}

/// Returns the first `len` bytes of a packet, unless it has fewer, or many more.
fn inside(packet: &[u8], len: usize) -> Option<&[u8]> {
    packet.get(..len).filter(|_| len >= 20 && packet.len() - len <= 255)
}

/// Returns the bytes that name ports, or type and code; `None` if the header is cut off, or says that it is.
fn ports(protocol: u8, segment: &[u8]) -> Option<&[u8]> {
    match protocol {
        6 => {
            segment.get(..4).filter(|_| segment.get(12).is_some_and(|at| (20..=segment.len()).contains(&tcp_len(*at))))
        }
        17 => segment.get(..4).filter(|_| segment.get(4..6) == Some(&(segment.len() as u16).to_be_bytes()[..])),
        132 => segment.get(..4).filter(|_| segment.len() >= 12),
        1 | 58 => segment.get(..2).filter(|_| segment.len() >= 8),
        _ => Some(&[]),
    }
}

const fn tcp_len(offset: u8) -> usize {
    4 * (offset as usize >> 4)
}
