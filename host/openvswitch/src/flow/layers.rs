//! From the attributes of a flow to a key and a mask that match no frame which the flow does not match.
//!
//! Where a key proves less of a frame than Open vSwitch reads, the mask asks for the proof, and the frames without it
//! go to Open vSwitch. Where Open vSwitch reads less, it reads zeros, which is no header here:
//!
//! - An IPv4 or IPv6 header that is not whole is none. The mask always asks for the header.
//! - Open vSwitch reads nothing of an IPv6 header, but for the addresses, if a header behind it is not whole. That all
//!   are whole is proven by a protocol that is no extension, or by a transport header.
//! - A tag that Open vSwitch does not look into is a second tag.

use super::Refusal;
use super::fields::{Fields, ether_type, protocol};
use sluice_switch::{Key, Layers, Mask};
use zerocopy::network_endian::U16;

/// IPv6 extension headers that are followed: hop-by-hop options, routing, fragment, authentication, destination
/// options.
const EXTENSIONS: [u8; 5] = [0, 43, 44, 51, 60];
/// The bits of the outer and of the second tag.
const LAYERS: [[Layers; 2]; 2] = [[Layers::TAG, Layers::SERVICE_TAG], [Layers::SECOND_TAG, Layers::SECOND_SERVICE_TAG]];

impl Fields<'_> {
    /// Returns the key and the mask.
    ///
    /// # Errors
    /// [`Refusal`]: a key proves too little of the frames.
    pub fn close(mut self) -> Result<(Key, Mask), Refusal> {
        self.has(Layers::ETHERNET, true);
        self.link()?;
        self.network()?;
        self.transport()?;
        let mask = Mask::closed(self.mask);
        Ok((self.key.masked(mask.key()), mask))
    }

    /// Returns whether the frames are later fragments.
    pub fn is_later(&self) -> bool {
        self.key.layers.contains(Layers::LATER)
    }

    /// Returns the number of tags that the frames have.
    pub fn tags(&self) -> usize {
        self.types.iter().take(2).filter(|it| is_tag(**it)).count()
    }

    /// The tags, and the EtherType behind them.
    fn link(&mut self) -> Result<(), Refusal> {
        let (kind, tags) = (self.ether_type(), self.tags());
        if self.tags == 0 && tags > 0 {
            return Err(Refusal::Unproven("a tag that is cut off"));
        }
        for (place, [tag, service]) in LAYERS.into_iter().enumerate().take(tags + 1) {
            self.has(tag, place < tags);
            if place < tags {
                self.has(service, self.types[place] == ether_type::SERVICE_TAG);
            }
        }
        // What is in a second tag that Open vSwitch does not look into may be anything.
        if self.tags == tags && kind != ether_type::NSH {
            (self.key.ether_type, self.mask.ether_type) = (U16::new(kind), U16::new(u16::MAX));
        }
        Ok(())
    }

    fn network(&mut self) -> Result<(), Refusal> {
        match self.ether_type() {
            ether_type::IPV4 => self.has(Layers::IPV4, true),
            ether_type::IPV6 => {
                self.has(Layers::IPV6, true);
                self.extensions()?;
            }
            ether_type::NSH => self.has(Layers::NSH, true),
            ether_type::ARP if self.matches_arp() => self.has(Layers::ARP, true),
            _ if self.mask.mpls.get() != 0 => self.has(Layers::MPLS, true),
            _ => {}
        }
        Ok(())
    }

    fn matches_arp(&self) -> bool {
        let mask = &self.mask;
        mask.protocol != 0 || [mask.ipv4_source, mask.ipv4_destination] != [[0; 4]; 2] || mask.further != [0; 16]
    }

    /// Asks for a proof that all extension headers are whole.
    fn extensions(&mut self) -> Result<(), Refusal> {
        let protocol = self.key.protocol;
        if self.is_later() {
            self.mask.protocol = u8::MAX;
            return require(protocol == protocol::IPV6_FRAGMENT, "a later fragment of another protocol");
        }
        require(!EXTENSIONS.contains(&protocol), "an extension header of IPv6 that is not whole")?;
        match protocol {
            _ if self.mask.protocol == u8::MAX => {}
            protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMPV6 => self.has(Layers::TRANSPORT, true),
            _ => self.mask.protocol = u8::MAX,
        }
        Ok(())
    }

    /// Ports and flags are those of the protocol that the key has.
    fn transport(&mut self) -> Result<(), Refusal> {
        let flags = self.mask.tcp_flags.get() != 0;
        if !flags && self.mask.source_port.get() == 0 && self.mask.destination_port.get() == 0 {
            return Ok(());
        }
        self.mask.protocol = u8::MAX;
        self.has(Layers::TRANSPORT, true);
        if flags {
            self.has(Layers::TCP, true);
        }
        require(!self.is_later(), "a transport header in a later fragment")
    }
}

fn is_tag(kind: u16) -> bool {
    matches!(kind, ether_type::TAG | ether_type::SERVICE_TAG)
}

fn require(it_is: bool, what: &'static str) -> Result<(), Refusal> {
    if it_is { Ok(()) } else { Err(Refusal::Unproven(what)) }
}
