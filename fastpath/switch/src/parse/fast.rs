//! TCP and UDP over IPv4 without options or IPv6 without extension headers, behind at most one customer tag: fixed
//! offsets, one bound check, and words that are put together in registers. Fields written one by one would be read back
//! as words, and a wide load right behind narrow stores waits for all of them.

use super::ipv6::HEADER as IPV6;
use super::link::{ETHERNET, TAG, ether_type};
use super::transport::protocol;
use super::{Parsed, be16, ipv4, transport};
use crate::key::{Key, Layers, SHORT, WORDS};

const IPV4: usize = ipv4::HEADER;
/// The bits of an Ethernet address at the start of a word.
const ADDRESS: u64 = (1 << 48) - 1;

/// Returns the key of such a frame; `None` for all others, and for what may not be proven.
#[inline(always)]
pub fn parse(in_port: u16, head: &[u8], len: usize) -> Option<Parsed> {
    let addresses = head.first_chunk::<{ ETHERNET + TAG }>()?;
    let (mut source, mut layers, mut tag, mut at) = (word(addresses, 6), Layers::ETHERNET, 0, ETHERNET);
    if source >> 48 == raw(ether_type::TAG) {
        let control = word(addresses, 10);
        (tag, at) = (control >> 32 & 0xffff, ETHERNET + TAG);
        source = source & ADDRESS | control & !ADDRESS;
        layers |= Layers::TAG;
    }
    let mut words = [0; WORDS];
    words[0] = word(addresses, 0) & ADDRESS | u64::from(in_port) << 48;
    words[1] = source;
    let room = len.checked_sub(at)?;
    let packet = head.get(at..)?;
    let (rest, size) = match source >> 48 {
        of if of == raw(ether_type::IPV4) => (ipv4(packet, room, &mut words)?, IPV4),
        of if of == raw(ether_type::IPV6) => (ipv6(packet, room, &mut words)?, IPV6),
        _ => return None,
    };
    words[3] = rest | u64::from(layers.bits()) | tag << 16;
    let [network, transport] = [at, at + size].map(|at| at as u16);
    Some(Parsed { key: Key::from_words(words), network, transport, routed: false })
}

/// Returns the two bytes of `value` as they lie in a frame, read as a word.
const fn raw(value: u16) -> u64 {
    u16::from_ne_bytes(value.to_be_bytes()) as u64
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Adds the words of the packet, and returns the layers and the TCP flags that belong into word 3.
#[inline(always)]
fn ipv4(packet: &[u8], room: usize, words: &mut [u64; WORDS]) -> Option<u64> {
    let packet = packet.first_chunk::<{ IPV4 + transport::TCP }>()?;
    let total = usize::from(be16(packet[2], packet[3]));
    let whole = packet[0] == 0x45 && total <= room && be16(packet[6], packet[7]) & 0x3fff == 0;
    let payload = total.checked_sub(IPV4).filter(|_| whole)?;
    let [tos, ttl, protocol] = [packet[1], packet[8], packet[9]];
    words[2] = word(packet, 12);
    let header = packet.last_chunk()?;
    words[4] = fourth(header, protocol, tos, ttl);
    transport_of(header, protocol, payload).map(|rest| rest | u64::from(Layers::IPV4.bits()))
}

/// As [`ipv4`].
#[inline(always)]
fn ipv6(packet: &[u8], room: usize, words: &mut [u64; WORDS]) -> Option<u64> {
    let packet = packet.first_chunk::<{ IPV6 + transport::TCP }>()?;
    let first = u32::from_be_bytes(*packet.first_chunk()?);
    let payload = usize::from(be16(packet[4], packet[5]));
    let whole = first >> 28 == 6 && payload + IPV6 <= room;
    let (protocol, ttl) = (packet[6], packet[7]);
    for place in 0..4 {
        words[SHORT + 1 + place] = word(packet, 8 + 8 * place);
    }
    words[SHORT + 5] = u64::from((first & 0xf_ffff).swap_bytes());
    let header = packet.last_chunk()?;
    words[4] = fourth(header, protocol, (first >> 20) as u8, ttl);
    let rest = transport_of(header, protocol, payload).filter(|_| whole)?;
    Some(rest | u64::from(Layers::IPV6.bits()))
}

#[inline(always)]
fn fourth(header: &[u8; transport::TCP], protocol: u8, tos: u8, ttl: u8) -> u64 {
    word(header, 0) & 0xffff_ffff | u64::from(protocol) << 32 | u64::from(tos) << 40 | u64::from(ttl) << 48
}

/// Returns the layers and the TCP flags of a transport header, of whose packet `payload` bytes are left.
#[inline(always)]
fn transport_of(header: &[u8; transport::TCP], protocol: u8, payload: usize) -> Option<u64> {
    let [high, low] = [header[12], header[13]];
    let udp = usize::from(be16(header[4], header[5]));
    let (whole, flags) = match protocol {
        protocol::TCP => (high >= 0x50 && usize::from(high >> 4) * 4 <= payload, raw(be16(high & 0xf, low)) << 48),
        protocol::UDP => (udp >= transport::UDP && udp <= payload, 0),
        _ => return None,
    };
    let tcp = if protocol == protocol::TCP { Layers::TCP } else { Layers::empty() };
    whole.then_some(flags | u64::from((tcp | Layers::TRANSPORT).bits()))
}
