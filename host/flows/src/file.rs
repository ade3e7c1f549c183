//! The file with flows: TOML, a table `[[flow]]` for each rule. See: docs/interfaces.md.

mod action;
mod field;

use crate::rules::Rule;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use field::{Address, Ethernet, Protocol, Tag};
use serde::Deserialize;
use sluice_abi::directory::MAX_PEERS;
use sluice_switch::{ActionError, ActionList, Key, Layers, Mask};
use toml::Spanned;
use zerocopy::network_endian::{U16, U32};

/// Largest number of rules of a file.
const MOST: usize = 4096;

/// What is wrong with a file of flows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowFileError {
    /// A line is not as it should be.
    #[error("line {line}: {what}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong, with the key.
        what: String,
    },
    /// There are too many rules.
    #[error("{0} flows; at most {MOST} are possible")]
    Count(usize),
    /// There are too many lists of actions for the table.
    #[error("{0} different lists of actions, one of them for frames that no flow matches; the table has {1}")]
    Lists(usize, u32),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    flow: Vec<Spanned<Entry>>,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    priority: u16,
    in_port: Option<Spanned<String>>,
    eth_dst: Option<Ethernet>,
    eth_src: Option<Ethernet>,
    eth_type: Option<u16>,
    vlan: Option<Tag>,
    ip_src: Option<Address>,
    ip_dst: Option<Address>,
    ip_proto: Option<Protocol>,
    src_port: Option<Spanned<u16>>,
    dst_port: Option<Spanned<u16>>,
    nsh_path: Option<Spanned<u32>>,
    nsh_index: Option<Spanned<u8>>,
    actions: Spanned<Vec<Spanned<String>>>,
}

/// Where something is wrong, and what.
type Wrong = (Range<usize>, String);

/// Returns the rules of the file `text`. `ports` has the names of the ports.
pub(crate) fn parse(text: &str, ports: &[(u16, &str)]) -> Result<Vec<Rule>, FlowFileError> {
    let at = |span: Range<usize>, what: String| {
        let before = &text.as_bytes()[..span.start.min(text.len())];
        FlowFileError::Line { line: 1 + before.iter().filter(|byte| **byte == b'\n').count(), what }
    };
    let file: File = toml::from_str(text).map_err(|error| {
        at(error.span().unwrap_or_default(), error.message().lines().collect::<Vec<_>>().join(", "))
    })?;
    if file.flow.len() > MOST {
        return Err(FlowFileError::Count(file.flow.len()));
    }
    let mut all = Vec::new();
    for entry in &file.flow {
        all.extend(rules(entry, ports).map_err(|(span, what)| at(span, what))?);
    }
    Ok(all)
}

/// Returns the rules of an entry: two, if it is for both versions of IP.
fn rules(entry: &Spanned<Entry>, ports: &[(u16, &str)]) -> Result<Vec<Rule>, Wrong> {
    let (span, entry) = (entry.span(), entry.get_ref());
    let mut fields = Fields::default();
    if let Some(name) = &entry.in_port {
        let port = port(name, ports).map_err(|what| (name.span(), alloc::format!("in_port: {what}")))?;
        (fields.key.in_port, fields.mask.in_port) = (port, !0);
    }
    fields.link(entry);
    let versions = fields.network(entry).map_err(|what| (span.clone(), what))?;
    fields.transport(entry).map_err(|what| (span.clone(), what))?;
    fields.nsh(entry)?;
    let (mask, actions) = (Mask::closed(fields.mask), actions(&entry.actions, ports)?);
    let rule = |layers| {
        let mut key = fields.key;
        key.layers |= layers;
        Rule { priority: entry.priority, key: key.masked(mask.key()), mask: *mask.key(), actions }
    };
    Ok(versions.iter().map(|layers| rule(*layers)).collect())
}

/// Returns the port called `name`.
fn port(name: &Spanned<String>, ports: &[(u16, &str)]) -> Result<u16, String> {
    let found = ports.iter().find(|(_, known)| known == name.get_ref());
    found.map(|(port, _)| *port).ok_or_else(|| {
        let known: Vec<_> = ports.iter().map(|(_, name)| *name).collect();
        alloc::format!("\"{}\": no such port; there are {}", name.get_ref(), known.join(", "))
    })
}

fn actions(list: &Spanned<Vec<Spanned<String>>>, ports: &[(u16, &str)]) -> Result<ActionList, Wrong> {
    let parse = |text: &Spanned<String>| {
        action::parse(text.get_ref(), ports)
            .map_err(|what| (text.span(), alloc::format!("actions: \"{}\": {what}", text.get_ref())))
    };
    let actions = list.get_ref().iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    ActionList::new(&actions, MAX_PEERS as u16)
        .map_err(|error: ActionError| (list.span(), alloc::format!("actions: {error}")))
}

/// The fields of a rule, and the bits that count.
#[derive(Default)]
struct Fields {
    key: Key,
    mask: Key,
}

impl Fields {
    /// Wants these headers.
    fn want(&mut self, layers: Layers) {
        self.key.layers |= layers;
        self.mask.layers |= layers;
    }

    fn link(&mut self, entry: &Entry) {
        let Self { key, mask } = self;
        if let Some(Ethernet { address, mask: bits }) = entry.eth_dst {
            (key.destination, mask.destination) = (address, bits);
        }
        if let Some(Ethernet { address, mask: bits }) = entry.eth_src {
            (key.source, mask.source) = (address, bits);
        }
        if let Some(ether_type) = entry.eth_type {
            (key.ether_type, mask.ether_type) = (U16::new(ether_type), U16::new(!0));
        }
        let outer = entry.eth_dst.is_some() || entry.eth_src.is_some() || entry.eth_type.is_some();
        match entry.vlan {
            Some(Tag::Id(id)) => {
                (key.tags[0], mask.tags[0]) = (U16::new(id), U16::new(0xfff));
                self.want(Layers::TAG);
            }
            Some(Tag::None) => mask.layers |= Layers::TAG,
            None => {}
        }
        if outer {
            self.want(Layers::ETHERNET);
        }
    }

    /// Returns the header of each version of IP that frames may have; nothing, once, if it does not matter.
    fn network(&mut self, entry: &Entry) -> Result<&'static [Layers], String> {
        let Self { key, mask } = self;
        let mut versions = [false; 2];
        for (address, is_source) in [(&entry.ip_src, true), (&entry.ip_dst, false)] {
            match address {
                Some(Address::V4(address, bits)) => {
                    let places = if is_source {
                        (&mut key.ipv4_source, &mut mask.ipv4_source)
                    } else {
                        (&mut key.ipv4_destination, &mut mask.ipv4_destination)
                    };
                    (*places.0, *places.1, versions[0]) = (*address, *bits, true);
                }
                Some(Address::V6(address, bits)) => {
                    let places = if is_source {
                        (&mut key.ipv6_source, &mut mask.ipv6_source)
                    } else {
                        (&mut key.ipv6_destination, &mut mask.ipv6_destination)
                    };
                    (*places.0, *places.1, versions[1]) = (*address, *bits, true);
                }
                None => {}
            }
        }
        if versions == [true; 2] {
            return Err("ip_src, ip_dst: one is of IPv4 and one of IPv6, and no packet is both".to_string());
        }
        if let Some(Protocol(protocol)) = entry.ip_proto {
            (key.protocol, mask.protocol) = (protocol, !0);
        }
        Ok(match versions {
            [true, _] => &[Layers::IPV4],
            [_, true] => &[Layers::IPV6],
            _ if entry.ip_proto.is_some() => &[Layers::IPV4, Layers::IPV6],
            _ => const { &[Layers::empty()] },
        })
    }

    fn transport(&mut self, entry: &Entry) -> Result<(), String> {
        let ports = [&entry.src_port, &entry.dst_port];
        if ports.iter().all(|port| port.is_none()) {
            return Ok(());
        }
        if entry.ip_proto.is_none() {
            return Err(
                "src_port, dst_port: want an ip_proto, as its type and code are in the place of ICMP's".to_string()
            );
        }
        if let Some(port) = &entry.src_port {
            (self.key.source_port, self.mask.source_port) = (U16::new(*port.get_ref()), U16::new(!0));
        }
        if let Some(port) = &entry.dst_port {
            (self.key.destination_port, self.mask.destination_port) = (U16::new(*port.get_ref()), U16::new(!0));
        }
        self.want(Layers::TRANSPORT);
        Ok(())
    }

    fn nsh(&mut self, entry: &Entry) -> Result<(), Wrong> {
        let (mut path, mut bits) = (0, 0);
        if let Some(spi) = &entry.nsh_path {
            if *spi.get_ref() >= 1 << 24 {
                return Err((spi.span(), "nsh_path: a service path identifier has 24 bits".to_string()));
            }
            (path, bits) = (*spi.get_ref() << 8, 0xffff_ff00);
        }
        if let Some(index) = &entry.nsh_index {
            (path, bits) = (path | u32::from(*index.get_ref()), bits | 0xff);
        }
        if bits != 0 {
            (self.key.nsh_path, self.mask.nsh_path) = (U32::new(path), U32::new(bits));
            self.want(Layers::NSH);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
