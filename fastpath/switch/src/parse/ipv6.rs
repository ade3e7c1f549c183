//! IPv6 and its extension headers. See: RFC 8200, 3, 4; RFC 4302, 2 (AH).

use super::{Bytes, Parsed, be16, transport};
use crate::key::Layers;
use zerocopy::network_endian::U32;

/// Length of a header, in bytes.
pub const HEADER: usize = 40;
/// Number of extension headers that are followed, which bounds the work on a frame. RFC 8200, 4.1 has one of each kind,
/// and destination options twice.
pub const MOST_EXTENSIONS: usize = 8;

/// Next header numbers. See: IANA, "Protocol Numbers".
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Returns whether a header of this number is followed by another one.
pub const fn is_extension(number: u8) -> bool {
    matches!(number, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// Takes the header, the extension headers, and the transport header unless the packet is a later fragment. The payload
/// length of a jumbogram is 0 (RFC 2675, 3), which proves nothing behind the header.
pub fn packet(parsed: &mut Parsed, bytes: Bytes<'_>) -> Option<()> {
    let header = bytes.read::<HEADER>(0)?;
    let first = u32::from_be_bytes(*header.first_chunk()?);
    let payload = bytes.skip(HEADER)?.first(be16(header[4], header[5]).into())?;
    if first >> 28 != 6 {
        return None;
    }
    let key = &mut parsed.key;
    (key.tos, key.flow_label) = ((first >> 20) as u8, U32::new(first & 0xf_ffff));
    (key.protocol, key.ttl) = (header[6], header[7]);
    key.ipv6_source.copy_from_slice(&header[8..24]);
    key.ipv6_destination.copy_from_slice(&header[24..40]);
    key.layers |= Layers::IPV6;
    parsed.network = bytes.at;
    let rest = extensions(parsed, payload)?;
    transport::header(parsed, rest)
}

/// Follows the extension headers, and returns what is behind them.
fn extensions<'f>(parsed: &mut Parsed, mut bytes: Bytes<'f>) -> Option<Bytes<'f>> {
    for place in 0..=MOST_EXTENSIONS {
        let len = match parsed.key.protocol {
            HOP_BY_HOP if place == 0 => 8 * (1 + usize::from(bytes.read::<2>(0)?[1])),
            ROUTING | DESTINATION => 8 * (1 + usize::from(bytes.read::<2>(0)?[1])),
            AUTHENTICATION => 4 * (2 + usize::from(bytes.read::<2>(0)?[1])),
            FRAGMENT => 8,
            _ => return Some(bytes),
        };
        let (extension, rest) = (bytes.first(len)?, bytes.skip(len)?);
        if place == MOST_EXTENSIONS || !one(parsed, extension)? {
            return None;
        }
        bytes = rest;
    }
    None
}

/// Takes one extension header, and returns whether another header is behind it. Behind that of a later fragment is the
/// middle of a packet.
fn one(parsed: &mut Parsed, bytes: Bytes<'_>) -> Option<bool> {
    let &[next, _, high, low] = bytes.read::<4>(0)?;
    let key = &mut parsed.key;
    match key.protocol {
        // A fragment that is the whole packet is none (RFC 6946), and takes nothing back of a header before it. One
        // with reserved bits is a fragment: receivers ignore these bits (RFC 8200, 4.5), but Open vSwitch doesn't, and
        // no flow of whole packets may match what is a fragment to it.
        FRAGMENT => {
            let fragment = be16(high, low);
            for (layer, has) in [(Layers::FRAGMENT, fragment != 0), (Layers::LATER, fragment >> 3 != 0)] {
                key.layers |= if has { layer } else { Layers::empty() };
            }
        }
        ROUTING => parsed.routed |= low != 0,
        _ => {}
    }
    let later = key.layers.contains(Layers::LATER);
    if !later {
        key.protocol = next;
    }
    Some(!later)
}
