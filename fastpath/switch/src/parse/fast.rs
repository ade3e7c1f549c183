//! TCP and UDP over IPv4 without options or IPv6 without extension headers, behind at most one customer tag, and maybe
//! within Ethernet in a network service header of MD type 1: fixed offsets, a bound check for each header, and words
//! that are put together in registers. Fields written one by one would be read back as words, and a wide load right
//! behind narrow stores waits for all of them.

use super::ipv6::HEADER as IPV6;
use super::link::{ETHERNET, TAG, ether_type};
use super::nsh::{MD1_WORDS, next};
use super::transport::protocol;
use super::{Parsed, be16, ipv4, transport};
use crate::key::{Key, Layers, SHORT, WORDS};

const IPV4: usize = ipv4::HEADER;
const NSH: usize = 4 * MD1_WORDS as usize;
/// The bits of an Ethernet address at the start of a word.
const ADDRESS: u64 = (1 << 48) - 1;

/// Takes such a frame; `None` for all others, and for what may not be proven.
#[inline(always)]
pub fn parse(parsed: &mut Parsed, in_port: u16, head: &[u8], len: usize) -> Option<()> {
    let addresses = head.first_chunk::<{ ETHERNET + TAG }>()?;
    let (mut source, mut layers, mut tag, mut at) = (word::<6, _>(addresses), Layers::ETHERNET, 0, ETHERNET);
    if source >> 48 == raw(ether_type::TAG) {
        let control = word::<10, _>(addresses);
        (tag, at) = (control >> 32 & 0xffff, ETHERNET + TAG);
        source = source & ADDRESS | control & !ADDRESS;
        layers |= Layers::TAG;
    }
    let mut words = [0; WORDS];
    words[0] = word::<0, _>(addresses) & ADDRESS | u64::from(in_port) << 48;
    if source >> 48 == raw(ether_type::NSH) {
        source = source & ADDRESS | nsh(head.get(at..)?, &mut words)? & !ADDRESS;
        at += NSH + ETHERNET;
        layers |= Layers::NSH | Layers::INNER;
    }
    let room = len.checked_sub(at)?;
    let packet = head.get(at..)?;
    let (rest, size) = match source >> 48 {
        of if of == raw(ether_type::IPV4) => (ipv4(packet, room, &mut words)?, IPV4),
        of if of == raw(ether_type::IPV6) => (ipv6(packet, room, &mut words)?, IPV6),
        _ => return None,
    };
    words[1] = source;
    words[3] = rest | u64::from(layers.bits()) | tag << 16;
    let [network, transport] = [at, at + size].map(|at| at as u16);
    *parsed = Parsed { key: Key::from_words(words), network, transport, routed: false };
    Some(())
}

/// Returns the two bytes of `value` as they lie in a frame, read as a word.
const fn raw(value: u16) -> u64 {
    u16::from_ne_bytes(value.to_be_bytes()) as u64
}

/// Returns the word at `AT`, which is within the bytes.
#[inline(always)]
fn word<const AT: usize, const N: usize>(bytes: &[u8; N]) -> u64 {
    const { assert!(AT + 8 <= N) };
    bytes[AT..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Adds the words of a network service header of MD type 1 and of the Ethernet header behind it, and returns the inner
/// EtherType in the bits behind [`ADDRESS`].
#[inline(always)]
fn nsh(header: &[u8], words: &mut [u64; WORDS]) -> Option<u64> {
    let header = header.first_chunk::<{ NSH + ETHERNET }>()?;
    let [first, md] = [be16(header[0], header[1]), (header[2] & 0xf).into()];
    let [ttl, kind] = [first >> 6 & 0x3f, first >> 13 << 7 | md];
    if first & 0xc03f != MD1_WORDS.into() || md != 1 || header[3] != next::ETHERNET {
        return None;
    }
    let fields = u64::from(ttl) | u64::from(kind & 0xff) << 8 | u64::from(next::ETHERNET) << 16;
    words[SHORT] = word::<4, _>(header) & 0xffff_ffff | fields << 32;
    words[SHORT + 6] = word::<NSH, _>(header);
    words[SHORT + 7] = word::<{ NSH + 6 }, _>(header) >> 16 & 0xffff_ffff;
    Some(word::<{ NSH + 6 }, _>(header))
}

/// Adds the words of the packet, and returns the layers and the TCP flags that belong into word 3.
#[inline(always)]
fn ipv4(packet: &[u8], room: usize, words: &mut [u64; WORDS]) -> Option<u64> {
    let packet = packet.first_chunk::<{ IPV4 + transport::TCP }>()?;
    let total = usize::from(be16(packet[2], packet[3]));
    let whole = packet[0] == 0x45 && total <= room && be16(packet[6], packet[7]) & 0x3fff == 0;
    let payload = total.checked_sub(IPV4).filter(|_| whole)?;
    let [tos, ttl, protocol] = [packet[1], packet[8], packet[9]];
    words[2] = word::<12, _>(packet);
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
    let addresses = [word::<8, _>(packet), word::<16, _>(packet), word::<24, _>(packet), word::<32, _>(packet)];
    words[SHORT + 1..SHORT + 5].copy_from_slice(&addresses);
    words[SHORT + 5] = u64::from((first & 0xf_ffff).swap_bytes());
    let header = packet.last_chunk()?;
    words[4] = fourth(header, protocol, (first >> 20) as u8, ttl);
    let rest = transport_of(header, protocol, payload).filter(|_| whole)?;
    Some(rest | u64::from(Layers::IPV6.bits()))
}

#[inline(always)]
fn fourth(header: &[u8; transport::TCP], protocol: u8, tos: u8, ttl: u8) -> u64 {
    word::<0, _>(header) & 0xffff_ffff | u64::from(protocol) << 32 | u64::from(tos) << 40 | u64::from(ttl) << 48
}

/// Length of the shortest header of each protocol: of one that is not known here, more than any length of TCP, and the
/// bit that only TCP's has. It is looked up, as a comparison would become a branch.
const LEAST: [u8; 256] = {
    let mut least = [u8::MAX; 256];
    (least[protocol::TCP as usize], least[protocol::UDP as usize]) = (transport::TCP as u8, transport::UDP as u8);
    least
};
const _: () = assert!(transport::TCP >> 4 & 1 == 1 && transport::UDP >> 4 & 1 == 0 && u8::MAX > 15 * 4);

/// Returns the layers and the TCP flags of a transport header, of whose packet `payload` bytes are left.
#[inline(always)]
fn transport_of(header: &[u8; transport::TCP], protocol: u8, payload: usize) -> Option<u64> {
    let [high, low] = [header[12], header[13]];
    let least = usize::from(LEAST[usize::from(protocol)]);
    // All ones for TCP. No branch: which of both a frame has can't be predicted.
    let tcp = 0usize.wrapping_sub(least >> 4 & 1);
    let (tcp_len, udp_len) = (usize::from(high >> 4) * 4, usize::from(be16(header[4], header[5])));
    let len = tcp_len & tcp | udp_len & !tcp;
    let whole = (len >= least) & (len <= payload);
    let flags = raw(be16(high & 0xf, low)) << 48 | u64::from(Layers::TCP.bits());
    whole.then_some(flags & tcp as u64 | u64::from(Layers::TRANSPORT.bits()))
}
