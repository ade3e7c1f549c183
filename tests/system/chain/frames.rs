//! Frames to send, what a server answers, and what etherparse says of what arrives.

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

/// Writes a capture file of `frames`.
pub fn file(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file =
        [&0xa1b2_c3d4u32.to_le_bytes()[..], &[2, 0, 4, 0], &[0; 8], &[0xff, 0xff, 0, 0], &[1, 0, 0, 0]].concat();
    for frame in frames {
        let len = (frame.len() as u32).to_le_bytes();
        file.extend([[0; 4], [0; 4], len, len].as_flattened());
        file.extend(frame);
    }
    file
}

/// Returns a frame of UDP.
pub fn udp(source: [u8; 4], destination: [u8; 4], ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, destination, 64).udp(ports[0], ports[1]);
    builder.write(&mut frame, payload).expect("a frame");
    frame
}

/// Returns a frame of TCP with these flags and a payload of 20 bytes.
pub fn tcp(source: [u8; 4], destination: [u8; 4], ports: [u16; 2], flags: u8) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut header = etherparse::TcpHeader::new(ports[0], ports[1], 1, 1000);
    let has = |bit: u8| flags & bit != 0;
    (header.fin, header.syn, header.rst, header.ack) = (has(1), has(2), has(4), has(16));
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(source, destination, 64).tcp_header(header);
    builder.write(&mut frame, &[5; 20]).expect("a frame");
    frame
}

/// Returns a frame in a network service header: `first` has flags, TTL and length, `kinds` MD type and next protocol,
/// `path` the path and the index. See: RFC 8300, 2.
pub fn chained(first: u16, kinds: [u8; 2], path: u32, context: &[u8], inner: &[u8]) -> Vec<u8> {
    let outer = [&[2; 6][..], &[4; 6], &[0x89, 0x4f]].concat();
    [&outer, &first.to_be_bytes()[..], &kinds, &path.to_be_bytes(), context, inner].concat()
}

/// Returns what the example echo answers: source and destination exchanged.
pub fn answer(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let mut exchange = |at: usize, len: usize| frame[at..at + 2 * len].rotate_left(len);
    exchange(0, 6);
    if frame[12..14] != [8, 0] {
        return frame;
    }
    frame[26..34].rotate_left(4);
    let at = 14 + 4 * usize::from(frame[14] & 15);
    match frame[23] {
        6 | 17 if frame.len() >= at + 4 => frame[at..at + 4].rotate_left(2),
        1 if frame[at..at + 2] == [8, 0] => {
            frame[at] = 0;
            let payload = frame[at..14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]))].to_vec();
            let sum = etherparse::checksum::Sum16BitWords::new();
            let sum = sum.add_slice(&payload[..2]).add_slice(&payload[4..]).ones_complement();
            // A fragment's sum is over more than the fragment.
            let old = u32::from(u16::from_be_bytes([frame[at + 2], frame[at + 3]])) + 0x800;
            let fragment = ((old & 0xffff) + (old >> 16)) as u16;
            let sum = if frame[20] & 0x3f != 0 || frame[21] != 0 { fragment } else { sum.to_be() };
            frame[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {}
    }
    frame
}

/// What of an IPv4 frame a translator may change, and all else but the checksums.
pub struct Fields {
    pub protocol: u8,
    pub destination: [u8; 4],
    /// The ports; of an echo of ICMP, twice its identifier.
    pub ports: [u16; 2],
    pub rest: Vec<u8>,
}

/// Returns the fields of a frame of TCP, UDP or an echo.
pub fn fields(frame: &[u8]) -> Fields {
    let packet = SlicedPacket::from_ethernet(frame).expect("a packet");
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4: {frame:02x?}") };
    let at = 14 + ip.header().slice().len();
    let (ports, changed) = match packet.transport {
        Some(TransportSlice::Tcp(tcp)) => ([tcp.source_port(), tcp.destination_port()], [at, at + 2, at + 16]),
        Some(TransportSlice::Udp(udp)) => ([udp.source_port(), udp.destination_port()], [at, at + 2, at + 6]),
        _ => ([u16::from_be_bytes([frame[at + 4], frame[at + 5]]); 2], [at + 4, at + 4, at + 2]),
    };
    let mut rest = frame.to_vec();
    rest[24..34].fill(0);
    changed.iter().for_each(|at| rest[*at..*at + 2].fill(0));
    Fields { protocol: ip.header().protocol().0, destination: ip.header().destination(), ports, rest }
}

/// Returns whether the checksums of an IPv4 frame are right.
pub fn is_intact(frame: &[u8]) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).expect("a packet");
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { return false };
    let ip = ip.header().to_header();
    let transport = match packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            tcp.calc_checksum_ipv4(ip.source, ip.destination).ok() == Some(tcp.checksum())
        }
        Some(TransportSlice::Udp(udp)) => {
            let calculated = udp.to_header().calc_checksum_ipv4(&ip, udp.payload()).ok();
            udp.checksum() == 0 || calculated == Some(udp.checksum())
        }
        Some(TransportSlice::Icmpv4(icmp)) => icmp.header().icmp_type.calc_checksum(icmp.payload()) == icmp.checksum(),
        _ => false,
    };
    ip.calc_header_checksum() == ip.header_checksum && transport
}
