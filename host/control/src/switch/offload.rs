//! Offloads that a sender leaves to the device, executed for receivers that did not negotiate them: checksums, and
//! segmentation of TCP and UDP. Of UDP a tap alone asks for that.
//! See: VIRTIO 5.1.6.2 "Packet Transmission", RFC 1071 (checksums), RFC 9293 section 3.1 (TCP), RFC 768 (UDP), RFC 791
//! (IPv4), RFC 8200 (IPv6).
//!
//! Headers are not trusted: each field that locates another is checked against the frame's length.

use alloc::vec::Vec;
use sluice_abi::net::{self, Hdr, HdrF, gso};

/// Largest number of segments of one frame: that of the longest frame at the smallest MTU that every IPv4 host accepts.
const MAX_SEGMENTS: usize = 128;
/// The protocol numbers of TCP and UDP.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Offset of the checksum in the TCP header, and in the UDP header, in bytes.
const TCP_CSUM: usize = 16;
const UDP_CSUM: usize = 6;
const FIN_AND_PSH: u8 = 0b1001;
const CWR: u8 = 0x80;

/// Returns what `hdr` leaves to the device. Flags that only a device may set are cleared: no VM vouches for a checksum
/// to another.
pub(super) fn left(hdr: Hdr) -> Hdr {
    match hdr.flags & HdrF::NEEDS_CSUM.bits() {
        0 => Hdr::default(),
        flags => Hdr { flags, num_buffers: 0, ..hdr },
    }
}

/// Does what `hdr` leaves to the device, and calls `each` with `frame` with its checksum completed, or with its
/// segments. Returns `None` if the headers do not allow that, or `each` returns `None`.
pub(super) fn execute(frame: &mut [u8], hdr: &Hdr, mut each: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    match hdr.gso_type {
        _ if hdr.flags & HdrF::NEEDS_CSUM.bits() == 0 => each(frame),
        gso::NONE => complete(frame, hdr).and_then(each),
        _ => segment(frame, hdr, each),
    }
}

/// Completes the checksum of `frame` as `hdr` says. Its field holds the sum of the pseudo header. Returns `None` if the
/// field is outside the frame.
fn complete<'f>(frame: &'f mut [u8], hdr: &Hdr) -> Option<&'f [u8]> {
    let start = usize::from(hdr.csum_start);
    let sum = checksum(frame.get(start..)?, 0);
    // A checksum of 0 means that the sender computed none. See: RFC 768.
    let sum = if sum == 0 { 0xffff } else { sum };
    put16(frame, start + usize::from(hdr.csum_offset), sum)?;
    Some(frame)
}

/// Cuts the TCP segment or UDP datagram in `frame` into those of `hdr.gso_size` bytes with complete headers and
/// checksums, and calls `each` with them in order. Returns `None` if `frame` is neither, has too many bytes, or `each`
/// returns `None`.
fn segment(frame: &[u8], hdr: &Hdr, mut each: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let headers = Headers::parse(frame, hdr)?;
    let (head, payload) = frame.split_at_checked(headers.len)?;
    let size = usize::from(hdr.gso_size);
    let count = payload.len().div_ceil(size.max(1)).max(1);
    if size == 0 || count > MAX_SEGMENTS {
        return None;
    }
    let mut segment = Vec::with_capacity(headers.len + size);
    for index in 0..count {
        let part = payload.get(index * size..)?;
        segment.clear();
        segment.extend_from_slice(head);
        segment.extend_from_slice(&part[..part.len().min(size)]);
        headers.correct(&mut segment, index, index * size, index + 1 == count)?;
        each(&segment)?;
    }
    Some(())
}

/// The headers of a frame: where they are, and of which protocols.
struct Headers {
    ip: usize,
    /// Offset of the header of TCP or UDP.
    transport: usize,
    /// Length in bytes of all headers.
    len: usize,
    is_ipv6: bool,
    /// [`TCP`] or [`UDP`].
    protocol: u8,
}

impl Headers {
    fn parse(frame: &[u8], hdr: &Hdr) -> Option<Self> {
        let (mut ip, transport) = (usize::from(net::ETHERNET_HEADER), usize::from(hdr.csum_start));
        for _ in 0..2 {
            if net::VLAN_TYPES.contains(&get16(frame, ip - 2)?) {
                ip += usize::from(net::VLAN_TAG);
            }
        }
        let version = *frame.get(ip)?;
        let (is_ipv6, protocol) = match hdr.gso_type {
            gso::UDP_L4 => (version >> 4 == 6, UDP),
            other => match other & !gso::ECN {
                gso::TCPV4 => (false, TCP),
                gso::TCPV6 => (true, TCP),
                _ => return None,
            },
        };
        let right = match is_ipv6 {
            true => get16(frame, ip - 2)? == 0x86dd && version >> 4 == 6 && transport >= ip + 40,
            false => {
                let header = usize::from(version & 15) * 4;
                let is_protocol = *frame.get(ip + 9)? == protocol;
                let is_ipv4 = get16(frame, ip - 2)? == 0x800 && version >> 4 == 4;
                is_ipv4 && header >= 20 && transport == ip + header && is_protocol
            }
        };
        let (header, csum) = match protocol {
            UDP => (8, UDP_CSUM),
            _ => (usize::from(frame.get(transport + 12)? >> 4) * 4, TCP_CSUM),
        };
        let right = right && header >= if protocol == UDP { 8 } else { 20 } && usize::from(hdr.csum_offset) == csum;
        let len = transport + header;
        (right && len <= frame.len()).then_some(Self { ip, transport, len, is_ipv6, protocol })
    }

    /// Adapts the headers of `segment` for segment `index`, whose payload begins `offset` bytes after that of the
    /// first.
    fn correct(&self, segment: &mut [u8], index: usize, offset: usize, is_last: bool) -> Option<()> {
        let Self { ip, transport, .. } = *self;
        let behind = u16::try_from(segment.len() - ip).ok()?;
        if self.is_ipv6 {
            put16(segment, ip + 4, behind.checked_sub(40)?)?;
        } else {
            put16(segment, ip + 2, behind)?;
            put16(segment, ip + 4, get16(segment, ip + 4)?.wrapping_add(index as u16))?;
            put16(segment, ip + 10, 0)?;
            let sum = checksum(segment.get(ip..transport)?, 0);
            put16(segment, ip + 10, sum)?;
        }
        if self.protocol == UDP {
            return self.correct_udp(segment);
        }
        let sequence: &mut [u8; 4] = segment.get_mut(transport + 4..)?.first_chunk_mut()?;
        *sequence = u32::from_be_bytes(*sequence).wrapping_add(offset as u32).to_be_bytes();
        let flags = segment.get_mut(transport + 13)?;
        *flags &= !(if is_last { 0 } else { FIN_AND_PSH } | if index == 0 { 0 } else { CWR });
        self.sum(segment, TCP_CSUM)
    }

    /// Adapts the header of UDP to the length of `segment`.
    fn correct_udp(&self, segment: &mut [u8]) -> Option<()> {
        put16(segment, self.transport + 4, u16::try_from(segment.len() - self.transport).ok()?)?;
        self.sum(segment, UDP_CSUM)
    }

    /// Computes the checksum of `segment` at `offset` behind the start of its transport header.
    fn sum(&self, segment: &mut [u8], offset: usize) -> Option<()> {
        put16(segment, self.transport + offset, 0)?;
        let sum = checksum(segment.get(self.transport..)?, self.pseudo_header(segment)?);
        // Of UDP, a checksum of 0 means that the sender computed none. See: RFC 768.
        let sum = if sum == 0 && self.protocol == UDP { 0xffff } else { sum };
        put16(segment, self.transport + offset, sum)
    }

    /// Returns the sum of the pseudo header. See: RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1.
    fn pseudo_header(&self, segment: &[u8]) -> Option<u64> {
        let addresses = if self.is_ipv6 { self.ip + 8..self.ip + 40 } else { self.ip + 12..self.ip + 20 };
        Some(sum(segment.get(addresses)?) + u64::from(self.protocol) + (segment.len() - self.transport) as u64)
    }
}

/// Returns the sum of the 16-bit words of `bytes` in network order, the last one padded with 0.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let words: u64 = words.iter().map(|&word| u64::from(u16::from_be_bytes(word))).sum();
    words + rest.first().map_or(0, |&byte| u64::from(byte) << 8)
}

/// Returns the checksum of `bytes` and of other words whose sum is `more`. See: RFC 1071.
fn checksum(bytes: &[u8], more: u64) -> u16 {
    let mut sum = sum(bytes) + more;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn get16(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn put16(frame: &mut [u8], at: usize, value: u16) -> Option<()> {
    *frame.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}

#[cfg(test)]
mod tests;
