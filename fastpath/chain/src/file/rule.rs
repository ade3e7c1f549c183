//! A rule of a classifier: which frames go into a chain.

use alloc::format;
use alloc::string::String;
use cidr::AnyIpCidr;
use core::net::IpAddr;
use core::ops::RangeInclusive;
use sluice_switch::{Key, Layers};

/// Protocols whose header begins with a source and a destination port: TCP, UDP and SCTP.
const WITH_PORTS: [u8; 3] = [6, 17, 132];
/// Names of protocols. See: IANA, "Assigned Internet Protocol Numbers".
const NAMES: [(&str, u8); 5] = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58), ("sctp", 132)];

/// What a frame has to have. `None` is anything; a field that a frame does not have, or that its bytes do not prove, is
/// only matched by `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    protocol: Option<u8>,
    /// Address and ports of source and destination.
    ends: [(Option<AnyIpCidr>, Option<RangeInclusive<u16>>); 2],
}

impl Rule {
    /// Reads `PROTOCOL [SOURCE [PORTS [DESTINATION [PORTS]]]]`: a protocol by name or number, an address or a prefix, a
    /// port or a range, or `any`. The error says what is wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        if words.clone().next().is_none() {
            return Err("want PROTOCOL [SOURCE [PORTS [DESTINATION [PORTS]]]]".into());
        }
        let mut rule = Self { protocol: field(words.next(), "a protocol", protocol)?, ..Self::default() };
        for (address, ports) in &mut rule.ends {
            *address = field(words.next(), "an address or a prefix without bits behind it", |word| word.parse().ok())?;
            *ports = field(words.next(), "a port or a range of ports", range)?;
        }
        words.next().map_or(Ok(rule), |word| Err(format!("{word:?}: want the end of the rule")))
    }

    /// Returns whether the rule matches a frame with this key.
    pub fn matches(&self, key: &Key) -> bool {
        let is_ip = key.layers.intersects(Layers::IPV4 | Layers::IPV6);
        let protocol = is_ip.then_some(key.protocol);
        let has_ports = key.layers.contains(Layers::TRANSPORT) && WITH_PORTS.contains(&key.protocol);
        let ports = [key.source_port, key.destination_port].map(|port| has_ports.then(|| port.get()));
        let ends = addresses(key).into_iter().zip(ports);
        is(&self.protocol, &protocol, u8::eq)
            && self.ends.iter().zip(ends).all(|((address, range), (found, port))| {
                is(address, &found, AnyIpCidr::contains) && is(range, &port, RangeInclusive::contains)
            })
    }
}

/// Returns source and destination of IP.
pub(crate) fn addresses(key: &Key) -> [Option<IpAddr>; 2] {
    match key.layers {
        layers if layers.contains(Layers::IPV4) => [key.ipv4_source, key.ipv4_destination].map(|it| Some(it.into())),
        layers if layers.contains(Layers::IPV6) => [key.ipv6_source, key.ipv6_destination].map(|it| Some(it.into())),
        _ => [None; 2],
    }
}

fn field<T>(word: Option<&str>, want: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, String> {
    let Some(word) = word.filter(|word| *word != "any") else { return Ok(None) };
    parse(word).map(Some).ok_or_else(|| format!("{word:?}: want {want}, or any"))
}

fn protocol(word: &str) -> Option<u8> {
    let known = NAMES.into_iter().find(|(name, _)| *name == word);
    known.map_or_else(|| word.parse().ok(), |(_, number)| Some(number))
}

fn range(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some(first.parse().ok()?..=last.parse().ok()?).filter(|range| !range.is_empty())
}

fn is<W, F>(wanted: &Option<W>, found: &Option<F>, matches: impl Fn(&W, &F) -> bool) -> bool {
    wanted.as_ref().is_none_or(|wanted| found.as_ref().is_some_and(|found| matches(wanted, found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use sluice_switch::Parsed;
    use std::vec::Vec;

    fn matches(rule: &str, frame: &[u8]) -> bool {
        Rule::parse(rule).expect(rule).matches(&Parsed::of(0, frame, frame.len() as u16).key)
    }

    #[test]
    fn a_rule_matches_what_it_names() {
        let ethernet = || PacketBuilder::ethernet2([2; 6], [4; 6]);
        let (mut tcp, mut udp, mut icmp) = (Vec::new(), Vec::new(), Vec::new());
        ethernet().ipv4([10, 0, 0, 1], [192, 0, 2, 7], 9).tcp(4000, 80, 1, 1).write(&mut tcp, &[1]).unwrap();
        ethernet().ipv6([0xfd; 16], [0xfe; 16], 9).udp(53, 5353).write(&mut udp, &[1]).unwrap();
        ethernet().ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9).icmpv4_echo_request(80, 80).write(&mut icmp, &[1]).unwrap();
        let arp = [&[0xff; 12][..], &[8, 6], &[0; 46]].concat();
        for (rule, expected) in [
            ("any", [true; 4]),
            ("tcp", [true, false, false, false]),
            ("17", [false, true, false, false]),
            ("icmp 10.0.0.1", [false, false, true, false]),
            ("any 10.0.0.0/8", [true, false, true, false]),
            ("any any any 192.0.2.7 80", [true, false, false, false]),
            ("any any any any 79", [false; 4]),
            ("any any any any 80-90", [true, false, false, false]),
            ("any any 4000", [true, false, false, false]),
            ("any any 0-65535", [true, true, false, false]),
            ("udp fd00::/8 53", [false, true, false, false]),
            ("any 0.0.0.0/0 any ::/0", [false; 4]),
        ] {
            assert_eq!([&tcp, &udp, &icmp, &arp].map(|frame| matches(rule, frame)), expected, "{rule}");
        }
        // A later fragment has no ports, and a port is not that of a fragment.
        (tcp[20], tcp[21]) = (0, 9);
        assert_eq!([matches("any any any any 80", &tcp), matches("tcp 10.0.0.1", &tcp)], [false, true]);
    }

    #[test]
    fn what_is_no_rule_says_what_is_wanted() {
        for rule in
            ["", "  ", "ipv4", "tcp 1.2.3", "tcp any x", "tcp any any any 1 2", "256", "tcp 10.0.0.1/8", "tcp any 2-1"]
        {
            assert!(Rule::parse(rule).expect_err(rule).contains("want"), "{rule}");
        }
    }
}
