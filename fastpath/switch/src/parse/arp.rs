//! ARP for IPv4 over Ethernet. See: RFC 826, "Packet format".

use super::{Bytes, Parsed, be16};
use crate::key::Layers;

/// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const IPV4_OVER_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];
const LEN: usize = 28;

/// Takes the packet, if its operation is below 256, as all that are assigned.
pub fn packet(parsed: &mut Parsed, bytes: Bytes<'_>) -> Option<()> {
    let packet = bytes.read::<LEN>(0)?;
    let (operation, key) = (be16(packet[6], packet[7]), &mut parsed.key);
    if packet[..6] != IPV4_OVER_ETHERNET || operation > 0xff {
        return None;
    }
    key.protocol = operation as u8;
    key.ipv4_source.copy_from_slice(&packet[14..18]);
    key.ipv4_destination.copy_from_slice(&packet[24..28]);
    // The inner Ethernet header's addresses are there already.
    if !key.layers.contains(Layers::INNER) {
        key.further[..6].copy_from_slice(&packet[8..14]);
        key.further[6..12].copy_from_slice(&packet[18..24]);
    }
    key.layers |= Layers::ARP;
    Some(())
}
