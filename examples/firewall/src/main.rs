//! A packet filter. The first rule that matches a frame decides; a frame that no rule matches is dropped.
//!
//! Arguments: `PEER RULES`. RULES name a module with a rule in each line, or are rules with `;` between them. A rule is
//! `allow|deny [PROTOCOL [SOURCE [PORTS [DESTINATION [PORTS]]]]]`: a protocol by name (tcp, udp, icmp, icmpv6) or
//! number, an address or prefix, a port or a range (`1024-65535`), or `any`. Empty lines and lines that start with #
//! are ignored. A rule that names a field matches no frame without that field: a fragment other than the first has no
//! ports; ARP, a damaged IP header and a frame with two VLAN tags have none. A tagged frame is matched by its packet.
#![cfg_attr(target_os = "none", no_std, no_main)]
extern crate alloc;

use alloc::{boxed::Box, format, string::String, vec::Vec};
use cidr::AnyIpCidr;
use core::{net::IpAddr, ops::RangeInclusive};
use etherparse::{EtherType, Ipv6ExtensionSlice, LaxIpSlice, LaxSlicedPacket, LenSource};
use sluice_vnf::{Error, Frame, Options, Receive, Vnf, lines, ones_sum, println};

sluice_vnf::main!(run);
sluice_vnf::heap!(1 << 18);

/// The five fields of a rule or of a frame: protocol, then address and port of source and destination.
type Fields<N, A, P> = (Option<N>, [(Option<A>, Option<P>); 2]);
/// Whether frames pass, and the fields of these frames.
type Rule = (bool, Fields<u8, AnyIpCidr, RangeInclusive<u16>>);

fn run(vnf: &mut Vnf) -> Result<(), Box<dyn core::error::Error>> {
    let (peer, list) = vnf.args().split_once(' ').ok_or(Error::Arguments("PEER RULES"))?;
    let (name, text) = match vnf.text(list) {
        Some(text) => (list, String::from(text?)),
        None => ("arguments", list.replace(';', "\n")),
    };
    let rule = |(number, line)| rule(line).map_err(|error| format!("{name}, line {number}: {error}"));
    let rules = lines(&text).map(rule).collect::<Result<Vec<_>, _>>()?;
    let (mut ports, mut bytes) = (vnf.open(Options::default())?, [0; 2048]);
    let peer = ports.wait_for(Some(peer))?;
    ports.relay(peer, |burst| burst.retain(|frame| allows(&rules, frame, &mut bytes)))?;
    let (passed, arrived) = (ports.stats_of(peer).packets, ports.input.rx_stats().packets);
    println!("{} rules: passed {passed} of {arrived} frames", rules.len());
    Ok(())
}

fn rule(line: &str) -> Result<Rule, String> {
    let mut words = line.split_whitespace();
    let allow = match words.next() {
        Some("allow") => true,
        Some("deny") => false,
        word => return Err(format!("{:?}: want allow or deny", word.unwrap_or_default())),
    };
    let mut fields = (field(words.next(), "a protocol", protocol)?, [(None, None), (None, None)]);
    for (address, port) in &mut fields.1 {
        *address = field(words.next(), "an address or a prefix without bits behind it", |word| word.parse().ok())?;
        *port = field(words.next(), "a port or a range of ports", range)?;
    }
    words.next().map_or(Ok((allow, fields)), |word| Err(format!("{word:?}: want the end of the rule")))
}

fn field<T>(word: Option<&str>, want: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, String> {
    let Some(word) = word.filter(|word| *word != "any") else { return Ok(None) };
    parse(word).map(Some).ok_or_else(|| format!("{word:?}: want {want}, or any"))
}

fn protocol(word: &str) -> Option<u8> {
    let known = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58)].into_iter().find(|(name, _)| *name == word);
    known.map_or_else(|| word.parse().ok(), |(_, number)| Some(number))
}

fn range(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some(first.parse().ok()?..=last.parse().ok()?).filter(|range| !range.is_empty())
}

fn allows(rules: &[Rule], frame: &Frame<'_>, bytes: &mut [u8; 2048]) -> bool {
    let bytes = &mut bytes[..usize::from(frame.len()).min(2048)];
    let (protocol, ends) = frame.copy_to_slice(0, bytes).ok().and_then(|()| fields(bytes)).unwrap_or_default();
    let matches = |(wanted, wanted_ends): &Fields<_, _, _>| {
        let mut pairs = wanted_ends.iter().zip(&ends);
        is(wanted, &protocol, u8::eq)
            && pairs.all(|(w, end)| is(&w.0, &end.0, AnyIpCidr::contains) && is(&w.1, &end.1, RangeInclusive::contains))
    };
    rules.iter().find(|(_, wanted)| matches(wanted)).is_some_and(|(allow, _)| *allow)
}

fn is<W, F>(wanted: &Option<W>, found: &Option<F>, matches: impl Fn(&W, &F) -> bool) -> bool {
    wanted.as_ref().is_none_or(|wanted| found.as_ref().is_some_and(|found| matches(wanted, found)))
}

fn fields(frame: &[u8]) -> Option<Fields<u8, IpAddr, u16>> {
    let packet = LaxSlicedPacket::from_ethernet(frame).ok().filter(|packet| packet.link_exts.len() < 2)?;
    let ether = packet.ether_payload().filter(|ether| matches!(ether.ether_type, EtherType::IPV4 | EtherType::IPV6))?;
    let (ip, _) = LaxIpSlice::from_slice(ether.payload).ok()?;
    let intact = ip.ipv4().is_none_or(|ip| ones_sum(ip.header().slice()) == 0xffff);
    let payload =
        Some(ip.payload()).filter(|part| intact && !part.incomplete && part.len_source != LenSource::Slice)?;
    let later = |part| matches!(part, Ipv6ExtensionSlice::Fragment(f) if f.fragment_offset().value() > 0);
    let later = ip.ipv4().is_some_and(|ip| ip.header().fragments_offset().value() > 0)
        || ip.ipv6().is_some_and(|ip| ip.extensions().clone().into_iter().any(later));
    let ports =
        payload.payload.first_chunk().filter(|_| !later && [6, 17, 33, 132, 136].contains(&payload.ip_number.0));
    let port = |at: usize| ports.map(|ports: &[u8; 4]| u16::from_be_bytes([ports[at], ports[at + 1]]));
    Some((Some(payload.ip_number.0), [(Some(ip.source_addr()), port(0)), (Some(ip.destination_addr()), port(2))]))
}
