//! IPv4. See: RFC 791, 3.1 "Internet Header Format".

use super::{Bytes, Parsed, be16, transport};
use crate::key::Layers;

/// Length of a header without options, in bytes.
pub const HEADER: usize = 20;

/// Takes the header, and the transport header behind it unless the packet is a later fragment. What lies behind the
/// total length is padding of the link, however long.
pub fn packet(parsed: &mut Parsed, bytes: Bytes<'_>) -> Option<()> {
    let header = bytes.read::<HEADER>(0)?;
    let len = 4 * usize::from(header[0] & 0xf);
    let total = usize::from(be16(header[2], header[3]));
    if header[0] >> 4 != 4 || len < HEADER || total < len {
        return None;
    }
    let packet = bytes.first(total)?;
    let key = &mut parsed.key;
    (key.tos, key.ttl, key.protocol) = (header[1], header[8], header[9]);
    key.ipv4_source.copy_from_slice(&header[12..16]);
    key.ipv4_destination.copy_from_slice(&header[16..20]);
    key.layers |= Layers::IPV4;
    let fragment = be16(header[6], header[7]);
    key.layers.set(Layers::FRAGMENT, fragment & 0x3fff != 0);
    key.layers.set(Layers::LATER, fragment & 0x1fff != 0);
    parsed.network = bytes.at;
    transport::header(parsed, packet.skip(len)?)
}
