//! What a flow does: from the text of its actions to a list.
//!
//! A list does to each frame that the flow's mask lets through what Open vSwitch does to it. Where that takes a header
//! that the mask did not ask for, it asks for it then.
//!
//! It is better where Open vSwitch 3.1 is wrong: as an address changes, that leaves the checksum behind an IPv6 routing
//! header, and behind the fragment header of a whole packet, and it changes the data of a later fragment of IPv4 as if
//! there were a checksum. A list keeps checksums right, and data as they are.

use super::Refusal;
use super::fields::{Fields, ether_type, protocol};
use super::text::{call, fields, masked, masked_ipv4, masked_ipv6, masked_mac, masked8, masked16, number, whole};
use crate::ports::Ports;
use sluice_switch::{Action, ActionList, Layers, Nsh};

/// Returns the list of the actions in `all`, of a flow with these `fields`.
///
/// # Errors
/// [`Refusal`].
pub fn read(all: &[&str], fields: &mut Fields<'_>, ports: &Ports) -> Result<ActionList, Refusal> {
    if all == ["drop"] {
        return Ok(ActionList::DROP);
    }
    let tags = fields.tags();
    let mut work = Work { fields, ports, list: Vec::new(), tags, inside: false, output: false };
    let mut rest = all.iter().copied();
    while let Some(item) = rest.next() {
        match call(item) {
            _ if work.output => return Err(Refusal::Outputs),
            None => work.plain(item)?,
            Some(("push_nsh", inner)) => {
                let outer = rest.next().and_then(call).filter(|(name, _)| *name == "push_eth");
                let (_, outer) = outer.ok_or_else(|| Refusal::action("push_nsh without push_eth"))?;
                work.push_nsh(inner, outer)?;
            }
            Some(("push_vlan", inner)) => work.push_vlan(inner)?,
            Some(("set", inner)) => {
                let (name, inner) = call(inner).ok_or_else(|| Refusal::malformed(inner))?;
                work.set(name, inner)?;
            }
            Some((name, _)) => return Err(Refusal::action(name)),
        }
    }
    // Nothing is seen of a frame that is changed and then not sent.
    if work.output { Ok(ActionList::new(&work.list, ports.count())?) } else { Ok(ActionList::DROP) }
}

struct Work<'f, 't> {
    fields: &'f mut Fields<'t>,
    ports: &'f Ports,
    list: Vec<Action>,
    /// Number of tags in front of the frame by now, as far as is known.
    tags: usize,
    /// The frame is in a network service header by now.
    inside: bool,
    output: bool,
}

impl Work<'_, '_> {
    fn plain(&mut self, item: &str) -> Result<(), Refusal> {
        if item == "pop_vlan" {
            self.tags = self.tags.checked_sub(1).ok_or_else(|| Refusal::action("pop_vlan without a tag"))?;
            self.list.push(Action::PopTag);
            return Ok(());
        }
        let number = number(item).and_then(|it| u32::try_from(it).ok()).ok_or_else(|| Refusal::action(item))?;
        let port = self.ports.ours(number).ok_or(Refusal::Output(number))?;
        self.list.push(Action::Output(port));
        self.output = true;
        Ok(())
    }

    fn push_vlan(&mut self, inner: &str) -> Result<(), Refusal> {
        let (mut service, mut control) = (false, 0);
        for (name, value) in fields(inner)? {
            match name {
                "tpid" => match whole(masked16(value, 16)?, u16::MAX, value)? {
                    ether_type::TAG => service = false,
                    ether_type::SERVICE_TAG => service = true,
                    _ => return Err(Refusal::action(value)),
                },
                "vid" => control |= whole(masked16(value, 12)?, 0xfff, value)?,
                "pcp" => control |= whole(masked16(value, 3)?, 7, value)? << 13,
                _ => return Err(Refusal::action(inner)),
            }
        }
        self.tags += 1;
        self.list.push(Action::PushTag { service, control });
        Ok(())
    }

    /// Puts the frame, Ethernet header and all, into a network service header, and that into another Ethernet header.
    fn push_nsh(&mut self, inner: &str, outer: &str) -> Result<(), Refusal> {
        let (mut nsh, mut seen) = (Nsh { path: 0, ttl: 0, context: [0; 16] }, 0);
        for (name, value) in fields(inner)? {
            let number = number(value).ok_or_else(|| Refusal::malformed(value))?;
            match (name, number) {
                ("flags", 0) | ("mdtype", 1) | ("np", 3) => {}
                ("ttl", ..=0xff) => nsh.ttl = number as u8,
                ("spi", ..=0xff_ffff) => nsh.path |= (number as u32) << 8,
                ("si", ..=0xff) => nsh.path |= number as u32,
                ("c1" | "c2" | "c3" | "c4", ..=0xffff_ffff) => {
                    let at = 4 * usize::from(name.as_bytes()[1] - b'1');
                    nsh.context[at..at + 4].copy_from_slice(&(number as u32).to_be_bytes());
                }
                _ => return Err(Refusal::action(&format!("push_nsh({name}={value})"))),
            }
            seen += 1;
        }
        // Each of the ten is there once, or Open vSwitch would do something else.
        if seen != 10 || self.inside {
            return Err(Refusal::action(inner));
        }
        (self.inside, self.tags) = (true, 0);
        self.list.push(Action::PushNsh(nsh));
        self.set_eth(outer)
    }

    fn set(&mut self, name: &str, inner: &str) -> Result<(), Refusal> {
        match (name, self.fields.ether_type()) {
            ("eth", _) => self.set_eth(inner),
            ("ipv4", ether_type::IPV4) if !self.inside => self.set_ipv4(inner),
            ("ipv6", ether_type::IPV6) if !self.inside => self.set_ipv6(inner),
            ("tcp", _) if !self.inside => self.set_ports(inner, protocol::TCP),
            ("udp", _) if !self.inside => self.set_ports(inner, protocol::UDP),
            _ => Err(Refusal::action(&format!("set({name})"))),
        }
    }

    fn set_eth(&mut self, inner: &str) -> Result<(), Refusal> {
        for (name, value) in fields(inner)? {
            let address = whole(masked_mac(value)?, [0xff; 6], value)?;
            self.list.push(match name {
                "src" => Action::SetSource(address),
                "dst" => Action::SetDestination(address),
                _ => return Err(Refusal::action(inner)),
            });
        }
        Ok(())
    }

    fn set_ipv4(&mut self, inner: &str) -> Result<(), Refusal> {
        for (name, value) in fields(inner)? {
            let action = match name {
                "src" => Action::SetIpv4Source(whole(masked_ipv4(value)?, [0xff; 4], value)?),
                "dst" => Action::SetIpv4Destination(whole(masked_ipv4(value)?, [0xff; 4], value)?),
                "tos" => set_tos(value)?,
                "ttl" => self.set_ttl(value)?,
                _ => return Err(Refusal::action(&format!("set(ipv4({name}))"))),
            };
            if matches!(name, "src" | "dst") {
                self.sums_up_addresses()?;
            }
            self.list.push(action);
        }
        Ok(())
    }

    fn set_ipv6(&mut self, inner: &str) -> Result<(), Refusal> {
        for (name, value) in fields(inner)? {
            let action = match name {
                "src" => Action::SetIpv6Source(whole(masked_ipv6(value)?, [0xff; 16], value)?),
                "dst" => Action::SetIpv6Destination(whole(masked_ipv6(value)?, [0xff; 16], value)?),
                "tclass" => set_tos(value)?,
                "hlimit" => self.set_ttl(value)?,
                "label" if masked(value, 20)?.1 == 0 => continue,
                _ => return Err(Refusal::action(&format!("set(ipv6({name}))"))),
            };
            if matches!(name, "src" | "dst") {
                self.sums_up_addresses()?;
            }
            self.list.push(action);
        }
        Ok(())
    }

    /// A time to live that is one less is taken from the one that the flow matches, so that flows of different ones
    /// have the same list.
    fn set_ttl(&mut self, value: &str) -> Result<Action, Refusal> {
        let ttl = whole(masked8(value, 8)?, u8::MAX, value)?;
        let is_set = self.list.iter().any(|it| matches!(it, Action::DecrementTtl | Action::SetTtl(_)));
        let before = ttl.checked_add(1).filter(|_| self.fields.mask.ttl == u8::MAX && ttl > 0 && !is_set);
        Ok(if before == Some(self.fields.key.ttl) { Action::DecrementTtl } else { Action::SetTtl(ttl) })
    }

    fn set_ports(&mut self, inner: &str, of: u8) -> Result<(), Refusal> {
        let is_ip = matches!(self.fields.ether_type(), ether_type::IPV4 | ether_type::IPV6);
        if !is_ip || self.fields.key.protocol != of || self.fields.is_later() {
            return Err(Refusal::action(&format!("set ports({inner})")));
        }
        self.fields.mask.protocol = u8::MAX;
        self.fields.has(Layers::TRANSPORT, true);
        for (name, value) in fields(inner)? {
            let port = whole(masked16(value, 16)?, u16::MAX, value)?;
            self.list.push(match name {
                "src" => Action::SetSourcePort(port),
                "dst" => Action::SetDestinationPort(port),
                _ => return Err(Refusal::action(inner)),
            });
        }
        Ok(())
    }

    /// Asks for the header with the checksum that addresses are part of.
    fn sums_up_addresses(&mut self) -> Result<(), Refusal> {
        use protocol::{DCCP, ICMPV6, TCP, UDP, UDP_LITE};
        self.fields.mask.protocol = u8::MAX;
        let v6 = self.fields.ether_type() == ether_type::IPV6;
        match self.fields.key.protocol {
            _ if self.fields.is_later() => {}
            TCP | UDP => self.fields.has(Layers::TRANSPORT, true),
            ICMPV6 if v6 => self.fields.has(Layers::TRANSPORT, true),
            ICMPV6 | DCCP | UDP_LITE => return Err(Refusal::Unproven("a checksum over the addresses")),
            _ => {}
        }
        Ok(())
    }
}

fn set_tos(value: &str) -> Result<Action, Refusal> {
    let (value, mask) = masked8(value, 8)?;
    Ok(Action::SetTos { value, mask })
}
