//! Masks: which bits of a key count for a flow entry.

use crate::key::{Key, Layers, WORDS};
use zerocopy::network_endian::{U16, U32};

/// A mask that says of a field without saying that the field's header is there: a frame of which the header is missing
/// would match an entry that wants 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mask has fields of headers whose bits it leaves out: {0:?}")]
pub struct MaskError(pub Layers);

/// A mask that names the headers of all its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(Key);

impl Mask {
    /// Returns `key` as a mask.
    ///
    /// # Errors
    /// [`MaskError`] with the bits that `key.layers` lacks.
    pub fn new(key: Key) -> Result<Self, MaskError> {
        let missing = needed(&key).difference(key.layers);
        if missing.is_empty() { Ok(Self(key)) } else { Err(MaskError(missing)) }
    }

    /// Returns the mask of the bits of `key`, and of the bits of the headers that these need.
    pub fn closed(mut key: Key) -> Self {
        key.layers |= needed(&key);
        Self(key)
    }

    /// Returns the bits that count.
    #[inline(always)]
    pub const fn key(&self) -> &Key {
        &self.0
    }

    /// Returns the words of the mask.
    #[inline(always)]
    pub fn words(&self) -> &[u64; WORDS] {
        self.0.words()
    }
}

/// Returns the bits of `layers` that a mask must have for its other fields. Where headers share a field, the bits of
/// all of them say whose field it is. A field behind a network service header is another one than that before it.
fn needed(mask: &Key) -> Layers {
    const IP: Layers = Layers::IPV4.union(Layers::IPV6).union(Layers::NSH);
    let arp = [mask.ipv4_source, mask.ipv4_destination] != [[0; 4]; 2];
    let nsh = (mask.nsh_path, mask.nsh_ttl, mask.nsh_kind, mask.nsh_next) != (U32::ZERO, 0, 0, 0);
    let ipv6 = (mask.ipv6_source, mask.ipv6_destination, mask.flow_label) != ([0; 16], [0; 16], U32::ZERO);
    let groups = [
        (mask.destination != [0; 6] || mask.source != [0; 6], Layers::ETHERNET),
        (mask.ether_type != U16::ZERO, Layers::ETHERNET.union(Layers::NSH)),
        (mask.tags[0] != U16::ZERO, Layers::TAG),
        (mask.tags[1] != U16::ZERO, Layers::SECOND_TAG),
        (mask.mpls != U32::ZERO, Layers::MPLS.union(Layers::NSH)),
        (nsh, Layers::NSH),
        (arp, Layers::ARP.union(Layers::IPV4).union(Layers::NSH)),
        (mask.protocol != 0, Layers::ARP.union(IP)),
        (mask.tos != 0 || mask.ttl != 0, IP),
        (ipv6, Layers::IPV6.union(Layers::NSH)),
        (mask.source_port != U16::ZERO || mask.destination_port != U16::ZERO, Layers::TRANSPORT.union(Layers::NSH)),
        (mask.tcp_flags != U16::ZERO, Layers::TCP.union(Layers::NSH)),
        (mask.further != [0; 16], Layers::INNER.union(Layers::ARP).union(Layers::ND)),
    ];
    groups.iter().filter(|(has, _)| *has).fold(Layers::empty(), |all, (_, layers)| all.union(*layers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_names_the_headers_of_its_fields() {
        let ports = Key { destination_port: U16::new(0xffff), ..Key::default() };
        assert_eq!(Mask::new(ports), Err(MaskError(Layers::TRANSPORT | Layers::NSH)));
        let mask = Mask::closed(ports);
        assert_eq!(mask.key().layers, Layers::TRANSPORT | Layers::NSH);
        assert_eq!(Mask::new(*mask.key()), Ok(mask));
    }

    /// A bit anywhere in a key, other than those of the port and of the headers, needs a header.
    #[test]
    fn every_field_but_the_port_needs_a_header() {
        for bit in 0..64 * WORDS {
            let mut words = [0; WORDS];
            words[bit / 64] = 1 << (bit % 64);
            let key = Key::from_words(words);
            let free = key.in_port != 0 || key.layers != Layers::empty() || key.reserved != 0 || key.nsh_reserved != 0;
            assert_eq!(Mask::new(key).is_ok(), free, "bit {bit}");
        }
    }
}
