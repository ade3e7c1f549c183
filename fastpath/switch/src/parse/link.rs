//! Ethernet, VLAN tags, MPLS. See: IEEE 802.3, 3.1; IEEE 802.1Q, 9.6; RFC 3032.

use super::{Bytes, Parsed, arp, ipv4, ipv6, nsh};
use crate::key::Layers;
use zerocopy::network_endian::{U16, U32};

/// EtherTypes. See: IEEE 802.1Q, table 9-1 "IEEE 802.1Q Ethertype allocations"; IANA, "IEEE 802 Numbers".
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// A customer tag.
    pub const TAG: u16 = 0x8100;
    /// A service tag.
    pub const SERVICE_TAG: u16 = 0x88a8;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// MPLS.
    pub const MPLS: u16 = 0x8847;
    /// MPLS with a label that was assigned upstream. See: RFC 5332, 4.
    pub const MPLS_UPSTREAM: u16 = 0x8848;
    /// Network service header. See: RFC 8300, 6.1.
    pub const NSH: u16 = 0x894f;
}

/// Length of an Ethernet header, in bytes.
pub const ETHERNET: usize = 14;
/// Length of a VLAN tag, in bytes.
pub const TAG: usize = 4;
/// The bits of the outer and of the second tag: that there is one, and that it is a service tag.
const TAGS: [[Layers; 2]; 2] = [[Layers::TAG, Layers::SERVICE_TAG], [Layers::SECOND_TAG, Layers::SECOND_SERVICE_TAG]];

/// Takes the outer Ethernet header and its tags, and what follows.
pub fn ethernet(parsed: &mut Parsed, bytes: Bytes<'_>) -> Option<()> {
    let header = bytes.read::<ETHERNET>(0)?;
    let key = &mut parsed.key;
    (key.destination, key.source, key.ether_type) = address_fields(header);
    key.layers |= Layers::ETHERNET;
    let mut rest = bytes.skip(ETHERNET)?;
    for (place, bits) in TAGS.into_iter().enumerate() {
        let service = match key.ether_type.get() {
            ether_type::TAG => false,
            ether_type::SERVICE_TAG => true,
            _ => break,
        };
        let &[high, low, next @ ..] = rest.read::<TAG>(0)?;
        (key.tags[place], key.ether_type) = (U16::from_bytes([high, low]), U16::from_bytes(next));
        key.layers |= bits[0];
        key.layers.set(bits[1], service);
        rest = rest.skip(TAG)?;
    }
    payload(parsed, rest)
}

/// Takes the Ethernet header in a network service header, and what follows. A tag is not taken.
pub fn inner(parsed: &mut Parsed, bytes: Bytes<'_>) -> Option<()> {
    let header = bytes.read::<ETHERNET>(0)?;
    parsed.key.further[..12].copy_from_slice(&header[..12]);
    parsed.key.ether_type = address_fields(header).2;
    parsed.key.layers |= Layers::INNER;
    payload(parsed, bytes.skip(ETHERNET)?)
}

/// Takes what the EtherType says.
pub fn payload(parsed: &mut Parsed, bytes: Bytes<'_>) -> Option<()> {
    match parsed.key.ether_type.get() {
        ether_type::IPV4 => ipv4::packet(parsed, bytes),
        ether_type::IPV6 => ipv6::packet(parsed, bytes),
        ether_type::ARP => arp::packet(parsed, bytes),
        ether_type::NSH if !parsed.key.layers.contains(Layers::NSH) => nsh::packet(parsed, bytes),
        ether_type::MPLS | ether_type::MPLS_UPSTREAM => {
            parsed.key.mpls = U32::from_bytes(*bytes.read(0)?);
            parsed.key.layers |= Layers::MPLS;
            Some(())
        }
        _ => None,
    }
}

fn address_fields(header: &[u8; ETHERNET]) -> ([u8; 6], [u8; 6], U16) {
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    ([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5], U16::from_bytes([t0, t1]))
}
