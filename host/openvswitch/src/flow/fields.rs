//! What a flow matches: from the attributes of its text to a key and a mask.

mod headers;

use super::Refusal;
use super::text::{call, fields, items, masked, masked_mac, masked16, number};
use crate::ports::Ports;
use sluice_switch::{Key, Layers};
use zerocopy::network_endian::U16;

/// EtherTypes. See: IANA, "IEEE 802 Numbers".
pub mod ether_type {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const RARP: u16 = 0x8035;
    pub const TAG: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_UPSTREAM: u16 = 0x8848;
    pub const SERVICE_TAG: u16 = 0x88a8;
    pub const NSH: u16 = 0x894f;
    /// Smaller values are lengths.
    pub const LEAST: u16 = 0x0600;
}

/// Protocol numbers. See: IANA, "Protocol Numbers".
pub mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const IPV6_FRAGMENT: u8 = 44;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
    pub const UDP_LITE: u8 = 136;
}

/// Number of tags that Open vSwitch may look at.
const TAGS: usize = 2;

/// The attributes of a flow. The key has the values of all of them, the mask the bits that count.
#[derive(Debug, Default)]
pub struct Fields<'t> {
    pub key: Key,
    pub mask: Key,
    /// The EtherType of the frame, and of what is in each tag.
    pub types: Vec<u16>,
    /// Number of tags that were looked at.
    pub tags: usize,
    /// Names of the attributes.
    names: Vec<(usize, &'t str)>,
}

impl<'t> Fields<'t> {
    /// Returns the attributes that are in `all`.
    ///
    /// # Errors
    /// [`Refusal`], of the first one that a key does not have, or of what is missing.
    pub fn read(all: &[&'t str], ports: &Ports) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        fields.level(all, 0, ports)?;
        for name in ["recirc_id", "in_port", "packet_type", "eth", "eth_type"] {
            if !fields.names.contains(&(0, name)) {
                return Err(Refusal::malformed(&format!("no {name}")));
            }
        }
        if fields.types.len() == fields.tags + 1 { Ok(fields) } else { Err(Refusal::malformed("no type in a tag")) }
    }

    /// Returns the EtherType that was read last.
    pub fn ether_type(&self) -> u16 {
        self.types.last().copied().unwrap_or(0)
    }

    /// Has the header be there, or not be there.
    pub fn has(&mut self, layer: Layers, there: bool) {
        self.mask.layers |= layer;
        self.key.layers.set(layer, there);
    }

    /// Takes the attributes behind `level` tags.
    fn level(&mut self, all: &[&'t str], level: usize, ports: &Ports) -> Result<(), Refusal> {
        for item in all {
            let (name, inner) = call(item).ok_or_else(|| Refusal::malformed(item))?;
            let once = if matches!(name, "eth_type" | "vlan" | "encap") { level } else { 0 };
            if self.names.contains(&(once, name)) {
                return Err(Refusal::malformed(item));
            }
            self.names.push((once, name));
            match name {
                "encap" if self.tags == level + 1 => self.level(&items(inner)?, level + 1, ports)?,
                "encap" => return Err(Refusal::malformed(item)),
                "eth_type" => self.types.push(self.one_type(inner, level)?),
                "vlan" => self.vlan(inner, level)?,
                _ if level > 0 => self.header(name, inner)?,
                _ => self.metadata(name, inner, ports)?,
            }
        }
        Ok(())
    }

    fn metadata(&mut self, name: &str, inner: &str, ports: &Ports) -> Result<(), Refusal> {
        match name {
            "skb_priority" | "skb_mark" | "dp_hash" => unmatched(name, masked(inner, 32)?.1 == 0),
            // A frame that comes in by a port was not tracked yet: all of it is 0.
            "ct_state" | "ct_zone" | "ct_mark" | "ct_label" => {
                let (value, mask) = masked(inner, 128)?;
                unmatched(name, value & mask == 0)
            }
            "recirc_id" if number(inner) == Some(0) => Ok(()),
            "recirc_id" | "tunnel" | "ct_tuple4" | "ct_tuple6" => Err(Refusal::Recirculated(name.to_owned())),
            "in_port" => self.in_port(inner, ports),
            "packet_type" => unmatched(name, inner == "ns=0,id=0"),
            "eth" => self.eth(inner),
            _ => self.header(name, inner),
        }
    }

    fn header(&mut self, name: &str, inner: &str) -> Result<(), Refusal> {
        let (kind, protocol) = (self.ether_type(), self.key.protocol);
        let is_ip = matches!(kind, ether_type::IPV4 | ether_type::IPV6);
        match name {
            "ipv4" if kind == ether_type::IPV4 => self.ipv4(inner),
            "ipv6" if kind == ether_type::IPV6 => self.ipv6(inner),
            "arp" if kind == ether_type::ARP || kind == ether_type::RARP => self.arp(inner, kind),
            "mpls" if matches!(kind, ether_type::MPLS | ether_type::MPLS_UPSTREAM) => self.mpls(inner),
            "nsh" if kind == ether_type::NSH => self.nsh(inner),
            "tcp" if is_ip && protocol == protocol::TCP => self.ports(inner, ["src", "dst"]),
            "udp" if is_ip && protocol == protocol::UDP => self.ports(inner, ["src", "dst"]),
            "sctp" if is_ip && protocol == protocol::SCTP => self.ports(inner, ["src", "dst"]),
            "icmp" if kind == ether_type::IPV4 && protocol == protocol::ICMP => self.ports(inner, ["type", "code"]),
            "tcp_flags" if is_ip && protocol == protocol::TCP => self.tcp_flags(inner),
            // Open vSwitch takes these of eight bytes, a key of four; and an option that is there twice hides the
            // target from it.
            "icmp" | "icmpv6" | "nd" | "nd_ext" if is_ip => all_unmatched(name, inner),
            "ipv4" | "ipv6" | "arp" | "mpls" | "nsh" | "tcp" | "udp" | "sctp" | "tcp_flags" => {
                Err(Refusal::malformed(name))
            }
            _ => Err(Refusal::field(name)),
        }
    }

    fn in_port(&mut self, inner: &str, ports: &Ports) -> Result<(), Refusal> {
        let number = number(inner).and_then(|it| u32::try_from(it).ok()).ok_or_else(|| Refusal::malformed(inner))?;
        self.key.in_port = ports.ours(number).ok_or(Refusal::InPort(number))?;
        self.mask.in_port = u16::MAX;
        Ok(())
    }

    fn eth(&mut self, inner: &str) -> Result<(), Refusal> {
        for (name, value) in fields(inner)? {
            let (value, mask) = masked_mac(value)?;
            match name {
                "src" => (self.key.source, self.mask.source) = (value, mask),
                "dst" => (self.key.destination, self.mask.destination) = (value, mask),
                _ => return Err(Refusal::malformed(inner)),
            }
        }
        Ok(())
    }

    /// Returns an EtherType, all of whose bits count. Frames of IEEE 802.3, which have a length in its place, all have
    /// the type 0 here.
    fn one_type(&self, inner: &str, level: usize) -> Result<u16, Refusal> {
        let (value, mask) = masked16(inner, 16)?;
        if self.types.len() != level || mask != u16::MAX {
            return Err(Refusal::malformed(inner));
        }
        if value < ether_type::LEAST { Err(Refusal::Unproven("a length for an EtherType")) } else { Ok(value) }
    }

    fn vlan(&mut self, inner: &str, level: usize) -> Result<(), Refusal> {
        let is_tag = matches!(self.ether_type(), ether_type::TAG | ether_type::SERVICE_TAG);
        if !is_tag || level >= TAGS || self.types.len() != level + 1 {
            return Err(Refusal::malformed(inner));
        }
        self.tags = level + 1;
        let (mut control, mut control_mask) = (0, 0);
        for (name, value) in fields(inner)? {
            let (bits, shift) = match name {
                "vid" => (12, 0),
                "pcp" => (3, 13),
                "cfi" => return Err(Refusal::Unproven("a tag that is cut off")),
                _ => return Err(Refusal::malformed(inner)),
            };
            let (value, mask) = masked16(value, bits)?;
            (control, control_mask) = (control | value << shift, control_mask | mask << shift);
        }
        (self.key.tags[level], self.mask.tags[level]) = (U16::new(control), U16::new(control_mask));
        Ok(())
    }
}

fn unmatched(name: &str, it_is: bool) -> Result<(), Refusal> {
    if it_is { Ok(()) } else { Err(Refusal::field(name)) }
}

/// Refuses an attribute with a field that counts.
fn all_unmatched(name: &str, inner: &str) -> Result<(), Refusal> {
    let is_zero = |mask: &str| mask.chars().all(|it| matches!(it, '0' | 'x' | '.' | ':'));
    let counts = |(_, value): (&str, &str)| !value.split_once('/').is_some_and(|(_, mask)| is_zero(mask));
    unmatched(name, !fields(inner)?.into_iter().any(counts))
}
