//! TCP, UDP, SCTP, ICMP, ICMPv6. See: RFC 9293, 3.1; RFC 768; RFC 9260, 3.1; RFC 792; RFC 4443, 2.1.

use super::{Bytes, Parsed, be16};
use crate::key::{Key, Layers};
use zerocopy::network_endian::U16;

/// Protocol numbers. See: IANA, "Protocol Numbers".
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP, whose header is not read.
    pub const DCCP: u8 = 33;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite, whose header is not read.
    pub const UDP_LITE: u8 = 136;
}

/// Lengths of a header of TCP without options, and of a header of UDP, in bytes.
pub const TCP: usize = 20;
pub const UDP: usize = 8;

/// Types of a neighbor solicitation and advertisement, and where their target address is.
const ND_TYPES: [u8; 2] = [135, 136];
const ND_TARGET: usize = 8;

/// Takes the header that the protocol says. `bytes` end where the network header says, which may be before the frame
/// does.
pub fn header(parsed: &mut Parsed, bytes: Bytes<'_>) -> Option<()> {
    let key = &mut parsed.key;
    if key.layers.contains(Layers::LATER) {
        return None;
    }
    let v6 = key.layers.contains(Layers::IPV6);
    match key.protocol {
        protocol::TCP => tcp(key, bytes)?,
        protocol::UDP => udp(key, bytes)?,
        protocol::SCTP => ports(key, bytes.read::<12>(0)?.first_chunk()?),
        protocol::ICMP if !v6 => kind_and_code(key, bytes.read::<8>(0)?.first_chunk()?),
        protocol::ICMPV6 if v6 => kind_and_code(key, bytes.read::<4>(0)?.first_chunk()?),
        _ => return None,
    }
    key.layers |= Layers::TRANSPORT;
    parsed.transport = bytes.at;
    if v6 { neighbor(key, bytes) } else { Some(()) }
}

fn ports(key: &mut Key, &[s0, s1, d0, d1]: &[u8; 4]) {
    (key.source_port, key.destination_port) = (U16::from_bytes([s0, s1]), U16::from_bytes([d0, d1]));
}

fn kind_and_code(key: &mut Key, &[kind, code]: &[u8; 2]) {
    (key.source_port, key.destination_port) = (U16::new(kind.into()), U16::new(code.into()));
}

fn tcp(key: &mut Key, bytes: Bytes<'_>) -> Option<()> {
    let header = bytes.read::<TCP>(0)?;
    let len = 4 * usize::from(header[12] >> 4);
    if len < TCP || len > bytes.len {
        return None;
    }
    ports(key, header.first_chunk()?);
    key.tcp_flags = U16::new(be16(header[12], header[13]) & 0xfff);
    key.layers |= Layers::TCP;
    Some(())
}

/// The length of a fragmented datagram is that of the whole one.
fn udp(key: &mut Key, bytes: Bytes<'_>) -> Option<()> {
    let header = bytes.read::<UDP>(0)?;
    let len = usize::from(be16(header[4], header[5]));
    let most = if key.layers.contains(Layers::FRAGMENT) { usize::MAX } else { bytes.len };
    if len < UDP || len > most {
        return None;
    }
    ports(key, header.first_chunk()?);
    Some(())
}

/// Takes the target of a neighbor solicitation or advertisement, unless an inner Ethernet header's addresses are in its
/// place.
fn neighbor(key: &mut Key, bytes: Bytes<'_>) -> Option<()> {
    let &[kind, code] = bytes.read::<2>(0)?;
    let others = key.protocol != protocol::ICMPV6 || key.layers.intersects(Layers::INNER | Layers::FRAGMENT);
    if others || !ND_TYPES.contains(&kind) || code != 0 {
        return None;
    }
    key.further = *bytes.read::<16>(ND_TARGET)?;
    key.layers |= Layers::ND;
    Some(())
}
