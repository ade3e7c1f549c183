//! Attributes of the headers behind the EtherType.

use super::{Fields, all_unmatched, ether_type, unmatched};
use crate::flow::Refusal;
use crate::flow::text::{fields, masked, masked_ipv4, masked_ipv6, masked_mac, masked8, masked16, pairs};
use sluice_switch::Layers;
use zerocopy::network_endian::{U16, U32};

impl Fields<'_> {
    /// Takes the first entry of a label stack. Entries behind it, which no key has, have the same names.
    pub(super) fn mpls(&mut self, inner: &str) -> Result<(), Refusal> {
        let (mut entry, mut entry_mask, mut seen) = (0, 0, Vec::new());
        for (name, value) in pairs(inner)? {
            let (bits, shift) = match name {
                "label" => (20, 12),
                "tc" => (3, 9),
                "bos" => (1, 8),
                "ttl" => (8, 0),
                _ => return Err(Refusal::field("mpls")),
            };
            let (value, mask) = masked(value, bits)?;
            if seen.contains(&name) {
                unmatched("a second label", mask == 0)?;
                continue;
            }
            seen.push(name);
            (entry, entry_mask) = (entry | (value as u32) << shift, entry_mask | (mask as u32) << shift);
        }
        (self.key.mpls, self.mask.mpls) = (U32::new(entry), U32::new(entry_mask));
        Ok(())
    }

    pub(super) fn arp(&mut self, inner: &str, kind: u16) -> Result<(), Refusal> {
        if kind == ether_type::RARP {
            return all_unmatched("RARP", inner);
        }
        for (name, value) in fields(inner)? {
            let (key, mask) = (&mut self.key, &mut self.mask);
            match name {
                "sip" => (key.ipv4_source, mask.ipv4_source) = masked_ipv4(value)?,
                "tip" => (key.ipv4_destination, mask.ipv4_destination) = masked_ipv4(value)?,
                // Those above 255 are no ARP for either.
                "op" => match masked16(value, 16)? {
                    (op, bits) if op <= 0xff => (key.protocol, mask.protocol) = (op as u8, bits as u8),
                    _ => return Err(Refusal::malformed(value)),
                },
                "sha" | "tha" => {
                    let (value, bits) = masked_mac(value)?;
                    let at = if name == "sha" { 0..6 } else { 6..12 };
                    key.further[at.clone()].copy_from_slice(&value);
                    mask.further[at].copy_from_slice(&bits);
                }
                _ => return Err(Refusal::malformed(inner)),
            }
        }
        Ok(())
    }

    pub(super) fn ipv4(&mut self, inner: &str) -> Result<(), Refusal> {
        for (name, value) in fields(inner)? {
            match name {
                "src" => (self.key.ipv4_source, self.mask.ipv4_source) = masked_ipv4(value)?,
                "dst" => (self.key.ipv4_destination, self.mask.ipv4_destination) = masked_ipv4(value)?,
                "tos" => (self.key.tos, self.mask.tos) = masked8(value, 8)?,
                "ttl" => (self.key.ttl, self.mask.ttl) = masked8(value, 8)?,
                _ => self.ip(name, value)?,
            }
        }
        Ok(())
    }

    pub(super) fn ipv6(&mut self, inner: &str) -> Result<(), Refusal> {
        for (name, value) in fields(inner)? {
            match name {
                "src" => (self.key.ipv6_source, self.mask.ipv6_source) = masked_ipv6(value)?,
                "dst" => (self.key.ipv6_destination, self.mask.ipv6_destination) = masked_ipv6(value)?,
                "tclass" => (self.key.tos, self.mask.tos) = masked8(value, 8)?,
                "hlimit" => (self.key.ttl, self.mask.ttl) = masked8(value, 8)?,
                "label" => {
                    let (value, mask) = masked(value, 20)?;
                    (self.key.flow_label, self.mask.flow_label) = (U32::new(value as u32), U32::new(mask as u32));
                }
                _ => self.ip(name, value)?,
            }
        }
        Ok(())
    }

    fn ip(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let [fragment, later] = match (name, value) {
            ("proto", _) => {
                (self.key.protocol, self.mask.protocol) = masked8(value, 8)?;
                return Ok(());
            }
            ("frag", "no") => [false, false],
            ("frag", "first") => [true, false],
            ("frag", "later") => [true, true],
            _ => return Err(Refusal::malformed(value)),
        };
        self.has(Layers::FRAGMENT, fragment);
        self.has(Layers::LATER, later);
        Ok(())
    }

    pub(super) fn ports(&mut self, inner: &str, names: [&str; 2]) -> Result<(), Refusal> {
        for (name, value) in fields(inner)? {
            let bits = if names[0] == "type" { 8 } else { 16 };
            let (value, mask) = masked16(value, bits)?;
            let at = names.iter().position(|it| *it == name).ok_or_else(|| Refusal::malformed(inner))?;
            let pair = (U16::new(value), U16::new(mask));
            match at {
                0 => (self.key.source_port, self.mask.source_port) = pair,
                _ => (self.key.destination_port, self.mask.destination_port) = pair,
            }
        }
        Ok(())
    }

    /// Takes flags as numbers, as `name|name`, or as `+name` and `-name`, of which the others do not count.
    pub(super) fn tcp_flags(&mut self, inner: &str) -> Result<(), Refusal> {
        let by_name = || inner.split('|').map(flag).try_fold(0, |all, it| Some(all | it?));
        let (flags, mask) = match by_name() {
            Some(flags) => (flags, FLAGS),
            None if inner.starts_with(['+', '-']) => signed_flags(inner).ok_or_else(|| Refusal::malformed(inner))?,
            None => masked16(inner, 12)?,
        };
        (self.key.tcp_flags, self.mask.tcp_flags) = (U16::new(flags), U16::new(mask));
        Ok(())
    }

    pub(super) fn nsh(&mut self, inner: &str) -> Result<(), Refusal> {
        for (name, value) in fields(inner)? {
            match name {
                "spi" | "si" => {
                    let (bits, shift) = if name == "spi" { (24, 8) } else { (8, 0) };
                    let (value, mask) = masked(value, bits)?;
                    self.key.nsh_path |= U32::new((value as u32) << shift);
                    self.mask.nsh_path |= U32::new((mask as u32) << shift);
                }
                "ttl" => {
                    (self.key.nsh_ttl, self.mask.nsh_ttl) = masked8(value, 8).map(|(it, mask)| (it, mask & 0x3f))?
                }
                "np" => (self.key.nsh_next, self.mask.nsh_next) = masked8(value, 8)?,
                // A key has one of the two flags, and half of the octet with the type.
                "flags" | "mdtype" => unmatched("nsh flags or type", masked8(value, 8)?.1 == 0)?,
                "c1" | "c2" | "c3" | "c4" => unmatched("nsh context", masked(value, 32)?.1 == 0)?,
                _ => return Err(Refusal::malformed(inner)),
            }
        }
        Ok(())
    }
}

/// All flags of TCP, and the bits that are reserved.
const FLAGS: u16 = 0xfff;

fn flag(name: &str) -> Option<u16> {
    const NAMES: [&str; 12] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"];
    NAMES.iter().position(|it| *it == name).map(|at| 1 << at)
}

/// Returns flags that are set or not set, each behind its sign, and the mask of both.
fn signed_flags(mut text: &str) -> Option<(u16, u16)> {
    let (mut flags, mut mask) = (0, 0);
    while let Some(rest) = text.strip_prefix(['+', '-']) {
        let name = rest.split(['+', '-']).next()?;
        let bit = flag(name)?;
        (flags, mask) = (flags | if text.starts_with('+') { bit } else { 0 }, mask | bit);
        text = rest.strip_prefix(name)?;
    }
    text.is_empty().then_some((flags, mask))
}
