//! A router of IPv4 and IPv6 by longest prefix match. Other packets are dropped and counted by cause, without ICMP.
//!
//! Argument: the name of a module with a route in each line, `PREFIX MAC PEER`: the next hop of packets to PREFIX and
//! the peer that is on the way. Empty lines and lines that start with # are ignored.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use cidr::{IpCidr, Ipv4Cidr, Ipv6Cidr};
use etherparse::{EtherType, Ethernet2Slice, Ipv4HeaderSlice, Ipv6HeaderSlice};
use poptrie::Poptrie;
use sluice_vnf::{Error, FrameMut, Options, PeerIdx, Ports, Receive, Vnf, lines, mac, ones_sum, println};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 20);

/// Prefixes that nothing is forwarded from or to. See: RFC 1812, 5.3.7 "Martian Address Filtering"; RFC 4291, 2.5.
const MARTIANS: &str = "0.0.0.0/8 127.0.0.0/8 224.0.0.0/4 255.255.255.255/32 ::/128 ::1/128 fe80::/10 ff00::/8";
/// The Ethernet address of a next hop, and the peer that is on the way; `None` for martians.
type Hop = Option<([u8; 6], PeerIdx)>;

#[derive(Default)]
struct Routes(Poptrie<Ipv4Cidr, Hop>, Poptrie<Ipv6Cidr, Hop>);

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let file = vnf.arg(0).ok_or(Error::Arguments("ROUTES"))?;
    let text = vnf.text(file).ok_or_else(|| format!("{file}: no such module"))??;
    let (mut ports, mut routes) = (vnf.open(Options::default())?, Routes::default());
    MARTIANS.split(' ').try_for_each(|prefix| routes.insert(prefix, None))?;
    let add = |(number, line)| routes.add(&ports, line).map_err(|error| format!("{file}, line {number}: {error}"));
    let peers = lines(text).map(add).collect::<Result<BTreeSet<_>, _>>()?;
    let mut outputs: Vec<_> = peers.into_iter().map(|peer| (peer, ports.burst())).collect();
    let (mac, mut dropped) = (ports.input.mac(), BTreeMap::new());
    let lost = ports.distribute(&mut outputs, |frame| {
        routes.forward(frame, mac).inspect_err(|cause| *dropped.entry(*cause).or_insert(0u64) += 1).ok()
    })?;
    println!("received {} frames, dropped {dropped:?}, queue full: {lost}", ports.input.rx_stats().packets);
    Ok(())
}

impl Routes {
    /// Adds the route in `line`, and returns its peer.
    fn add(&mut self, ports: &Ports, line: &'static str) -> Result<PeerIdx, String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [prefix, address, peer] = words[..] else { return Err("want PREFIX MAC PEER".into()) };
        let next = mac(address).ok_or_else(|| format!("{address:?}: want an Ethernet address"))?;
        let peer = ports.wait_for(Some(peer)).map_err(|error| format!("{error}"))?;
        self.insert(prefix, Some((next, peer))).map(|()| peer)
    }

    fn insert(&mut self, prefix: &str, hop: Hop) -> Result<(), String> {
        let old = match prefix.parse().map_err(|error| format!("{prefix:?}: {error}"))? {
            IpCidr::V4(prefix) => self.0.insert(prefix, hop),
            IpCidr::V6(prefix) => self.1.insert(prefix, hop),
        };
        old.map_or(Ok(()), |_| Err(format!("{prefix}: there is a route before")))
    }

    /// Changes `frame` for its next hop, and returns the peer on the way. The error is the cause of a drop.
    fn forward(&self, frame: &mut FrameMut<'_>, mac: [u8; 6]) -> Result<PeerIdx, &'static str> {
        let mut bytes = [0; 74];
        let bytes = &mut bytes[..usize::from(frame.len()).min(74)];
        frame.copy_to_slice(0, bytes).map_err(|_| "too short")?;
        let ethernet = Ethernet2Slice::from_slice_without_fcs(bytes).map_err(|_| "too short")?;
        let payload = ethernet.payload_slice();
        let (hops, header, len, ttl, ttl_at) = match ethernet.ether_type() {
            _ if ethernet.destination() != mac => return Err("other address"),
            EtherType::IPV4 => {
                let ip = Ipv4HeaderSlice::from_slice(payload).map_err(|_| "bad header")?;
                let hops = [ip.source_addr(), ip.destination_addr()].map(|address| self.0.lookup(address));
                (hops, ip.slice(), ip.total_len(), ip.ttl(), 22)
            }
            EtherType::IPV6 => {
                let ip = Ipv6HeaderSlice::from_slice(payload).map_err(|_| "bad header")?;
                let hops = [ip.source_addr(), ip.destination_addr()].map(|address| self.1.lookup(address));
                (hops, ip.slice(), ip.payload_length().saturating_add(40), ip.hop_limit(), 21)
            }
            _ => return Err("not IP"),
        };
        let (next, peer) = match hops {
            _ if ttl_at == 22 && ones_sum(header) != 0xffff => return Err("bad checksum"),
            _ if usize::from(len) < header.len() || len > frame.len() - 14 => return Err("bad length"),
            [Some(None), _] | [_, Some(None)] => return Err("martian"),
            [_, None] => return Err("no route"),
            _ if ttl <= 1 => return Err("expired"),
            [_, Some(Some(hop))] => *hop,
        };
        bytes[ttl_at] = ttl - 1;
        if ttl_at == 22 {
            // The word of TTL and protocol falls by 0x100. See: RFC 1624, equation 3.
            let words = [!bytes[24], !bytes[25], !ttl, !bytes[23], ttl - 1, bytes[23]];
            bytes[24..26].copy_from_slice(&(!ones_sum(&words)).to_be_bytes());
        }
        bytes[..6].copy_from_slice(&next);
        bytes[6..12].copy_from_slice(&mac);
        // Bytes behind the packet are padding of the link that the frame came by.
        frame.truncate(len + 14).and_then(|()| frame.set(0, &bytes[..26])).map(|()| peer).map_err(|_| "bad length")
    }
}
