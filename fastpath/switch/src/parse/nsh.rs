//! Network service header. See: RFC 8300, 2.

use super::{Bytes, Parsed, be16, link};
use crate::key::Layers;
use zerocopy::network_endian::{U16, U32};

/// Length of the base header and the service path header, in bytes.
pub const BASE: usize = 8;
/// Number of 4-byte words of a header of MD type 1. See: RFC 8300, 2.4.
pub const MD1_WORDS: u8 = 6;
/// Next protocols. See: RFC 8300, 9.1.6.
pub mod next {
    /// IPv4.
    pub const IPV4: u8 = 1;
    /// IPv6.
    pub const IPV6: u8 = 2;
    /// Ethernet.
    pub const ETHERNET: u8 = 3;
}

/// Takes the header, whose version must be 0 and whose length must fit its MD type, and the packet behind it.
pub fn packet(parsed: &mut Parsed, bytes: Bytes<'_>) -> Option<()> {
    let &[b0, b1, md, next, path @ ..] = bytes.read::<BASE>(0)?;
    let (first, md, key) = (be16(b0, b1), md & 0xf, &mut parsed.key);
    let words = (first & 0x3f) as u8;
    if first >> 14 != 0 || !matches!((md, words), (1, MD1_WORDS) | (2, 2..)) {
        return None;
    }
    let rest = bytes.skip(4 * usize::from(words))?;
    (key.nsh_path, key.nsh_next) = (U32::from_bytes(path), next);
    (key.nsh_ttl, key.nsh_kind) = ((first >> 6 & 0x3f) as u8, (first >> 13 << 7) as u8 | md);
    key.layers |= Layers::NSH;
    // Until the inner packet's is known.
    key.ether_type = U16::ZERO;
    match next {
        next::IPV4 => key.ether_type = U16::new(link::ether_type::IPV4),
        next::IPV6 => key.ether_type = U16::new(link::ether_type::IPV6),
        next::ETHERNET => return link::inner(parsed, rest),
        _ => return None,
    }
    link::payload(parsed, rest)
}
