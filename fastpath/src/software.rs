//! Offloads done in software, for a peer that did not negotiate them: completing a checksum, and cutting a TCP frame
//! into segments. See: VIRTIO 5.1.6.2 "Packet Transmission", RFC 1071 (the checksum), RFC 9293 (TCP), RFC 791 (IPv4),
//! RFC 8200 (IPv6).

use crate::{Burst, Frame, FrameError, FrameMut};
use sluice_abi::net::{ETHERNET_HEADER, Hdr, VLAN_TAG, VLAN_TYPES, gso};

/// Number of bytes that are read out of packet memory at a time: even, so that each piece begins with a whole word of
/// the sum.
const PIECE: usize = 256;
/// Largest length in bytes of the Ethernet, IP and TCP headers of a frame that can be cut into segments: two VLAN tags,
/// and all options of IPv4 and TCP.
const MAX_HEADERS: usize = 14 + 8 + 60 + 60;
/// The protocol number of TCP, in both versions of IP.
const TCP: u8 = 6;
/// Offset of the checksum in the header of TCP, in bytes.
const TCP_CSUM: u16 = 16;

impl FrameMut<'_> {
    /// Completes the checksum that is left to the receiver, if one is. No work is left to the receiver then.
    ///
    /// # Errors
    /// [`FrameError::Offloads`] if the frame is still to be segmented: [`FrameMut::segment`].
    pub fn complete_checksum(&mut self) -> Result<(), FrameError> {
        let Some(hdr) = self.offloads() else { return Ok(()) };
        if hdr.gso_type != gso::NONE {
            return Err(FrameError::Offloads { hdr, len: self.len().into() });
        }
        if self.leaves_checksum() {
            // The field holds the sum of the pseudo header, which is part of the checksum.
            let sum = sum_of(self, hdr.csum_start.into(), 0);
            // A checksum of 0 would say that there is none. See: RFC 768.
            let sum = match finish(sum) {
                0 => 0xffff,
                sum => sum,
            };
            let at = usize::from(hdr.csum_start) + usize::from(hdr.csum_offset);
            self.set(at, &sum.to_be_bytes())?;
        }
        self.clear_offloads();
        Ok(())
    }

    /// Cuts a TCP frame that is still to be segmented into frames of at most [`Hdr::gso_size`] bytes of payload, with
    /// all checksums complete, and adds these to the end of `into`. Returns the number of segments. This frame stays as
    /// it is.
    ///
    /// # Errors
    /// [`FrameError::Offloads`] if this is not a TCP frame over IPv4 or IPv6 without extension headers that is still to
    /// be segmented; [`FrameError::BurstFull`], [`FrameError::PoolEmpty`] and [`FrameError::NoRoom`] if `into` has no
    /// room for all segments. With an error none is added.
    pub fn segment(&self, into: &mut Burst<'_>) -> Result<usize, FrameError> {
        let before = into.len();
        let layout = Layout::of(self).ok_or(FrameError::Offloads { hdr: self.note.hdr, len: self.len().into() })?;
        let result = layout.cut(self, into);
        if result.is_err() {
            let mut index = 0;
            into.retain(|_| {
                index += 1;
                index <= before
            });
        }
        result.map(|()| into.len() - before)
    }

    fn leaves_checksum(&self) -> bool {
        self.note.needs_header()
    }
}

/// The headers of a TCP frame, and what the segments have in common.
struct Layout {
    headers: [u8; MAX_HEADERS],
    /// Offsets of the IP header and of the TCP header, and length of all headers, in bytes.
    ip: usize,
    tcp: usize,
    end: usize,
    is_ipv6: bool,
    /// Length of a segment's payload in bytes.
    size: usize,
}

impl Layout {
    fn of(frame: &Frame<'_>) -> Option<Self> {
        let hdr: Hdr = frame.offloads()?;
        let is_ipv6 = match hdr.gso_type & !gso::ECN {
            gso::TCPV4 => false,
            gso::TCPV6 => true,
            _ => return None,
        };
        let mut headers = [0; MAX_HEADERS];
        let there = MAX_HEADERS.min(frame.len().into());
        frame.copy_to_slice(0, &mut headers[..there]).ok()?;
        let (ip, tcp) = (ip_header(&headers, is_ipv6)?, usize::from(hdr.csum_start));
        let ip_len = if is_ipv6 { 40 } else { usize::from(headers[ip] & 15) * 4 };
        let protocol = headers[if is_ipv6 { ip + 6 } else { ip + 9 }];
        let end = tcp + usize::from(headers.get(tcp + 12)? >> 4) * 4;
        let right = ip_len >= 20 && ip + ip_len == tcp && protocol == TCP && hdr.csum_offset == TCP_CSUM;
        let fits = end >= tcp + 20 && end < usize::from(frame.len()) && end <= MAX_HEADERS;
        if !right || !fits || hdr.gso_size == 0 {
            return None;
        }
        Some(Self { headers, ip, tcp, end, is_ipv6, size: hdr.gso_size.into() })
    }

    fn cut(&self, frame: &Frame<'_>, into: &mut Burst<'_>) -> Result<(), FrameError> {
        let payload = usize::from(frame.len()) - self.end;
        for (number, at) in (0..payload).step_by(self.size).enumerate() {
            let len = self.size.min(payload - at);
            let whole = self.end + len;
            let len_of_frame =
                u16::try_from(whole).map_err(|_| FrameError::NoRoom { wanted: whole as u32, room: 0 })?;
            let mut segment = into.push(len_of_frame)?;
            segment.set_peer(frame.peer());
            segment.set_mark(frame.mark());
            copy(frame, self.end + at, &mut segment, self.end, len)?;
            let headers = self.headers_of(number, at, len, at + len == payload);
            segment.set(0, &headers[..self.end])?;
            let sum = sum_of(&segment, self.tcp, self.pseudo_header(&headers, whole - self.tcp));
            segment.set(self.tcp + usize::from(TCP_CSUM), &finish(sum).to_be_bytes())?;
        }
        Ok(())
    }

    /// Returns the headers of segment `number` with `len` bytes of payload from `at` on. The checksum of TCP is still
    /// 0.
    fn headers_of(&self, number: usize, at: usize, len: usize, last: bool) -> [u8; MAX_HEADERS] {
        let Self { mut headers, ip, tcp, end, is_ipv6, .. } = *self;
        let mut put = |at: usize, bytes: &[u8]| headers[at..at + bytes.len()].copy_from_slice(bytes);
        if is_ipv6 {
            put(ip + 4, &((end - tcp + len) as u16).to_be_bytes());
        } else {
            put(ip + 2, &((end - ip + len) as u16).to_be_bytes());
            let first = u16::from_be_bytes([self.headers[ip + 4], self.headers[ip + 5]]);
            put(ip + 4, &first.wrapping_add(number as u16).to_be_bytes());
            put(ip + 10, &[0, 0]);
        }
        let sequence = u32::from_be_bytes([0, 1, 2, 3].map(|byte| self.headers[tcp + 4 + byte]));
        put(tcp + 4, &sequence.wrapping_add(at as u32).to_be_bytes());
        // Only the first segment has CWR, and only the last one FIN and PSH.
        let mut flags = self.headers[tcp + 13];
        flags &= if number > 0 { !0x80 } else { 0xff };
        flags &= if last { 0xff } else { !0x09 };
        put(tcp + 13, &[flags]);
        put(tcp + usize::from(TCP_CSUM), &[0, 0]);
        if !is_ipv6 {
            let sum = finish(add(0, &headers[ip..tcp]));
            headers[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
        }
        headers
    }

    /// Returns the sum of the pseudo header before `len` bytes of TCP.
    fn pseudo_header(&self, headers: &[u8; MAX_HEADERS], len: usize) -> u32 {
        let addresses = if self.is_ipv6 { self.ip + 8..self.ip + 40 } else { self.ip + 12..self.ip + 20 };
        add(len as u32 + u32::from(TCP), &headers[addresses])
    }
}

/// Returns the offset and the version of the IP header, behind up to two VLAN tags; `None` without one.
fn ip_header(headers: &[u8; MAX_HEADERS], is_ipv6: bool) -> Option<usize> {
    let word = |at: usize| u16::from_be_bytes([headers[at], headers[at + 1]]);
    let (untagged, tag) = (usize::from(ETHERNET_HEADER), usize::from(VLAN_TAG));
    let tags = (0..2).take_while(|tags| VLAN_TYPES.contains(&word(untagged + tags * tag - 2))).count();
    let ip = untagged + tags * tag;
    let expected = if is_ipv6 { (0x86dd, 6) } else { (0x800, 4) };
    ((word(ip - 2), headers[ip] >> 4) == expected).then_some(ip)
}

fn copy(from: &Frame<'_>, at: usize, to: &mut FrameMut<'_>, target: usize, len: usize) -> Result<(), FrameError> {
    let mut bytes = [0; PIECE];
    for done in (0..len).step_by(PIECE) {
        let piece = &mut bytes[..PIECE.min(len - done)];
        from.copy_to_slice(at + done, piece)?;
        to.set(target + done, piece)?;
    }
    Ok(())
}

/// Adds the bytes of `frame` from `start` on to `sum`.
fn sum_of(frame: &Frame<'_>, start: usize, mut sum: u32) -> u32 {
    let (mut bytes, len) = ([0; PIECE], usize::from(frame.len()));
    for at in (start..len).step_by(PIECE) {
        let piece = &mut bytes[..PIECE.min(len - at)];
        // The piece is within the frame.
        if frame.copy_to_slice(at, piece).is_ok() {
            sum = add(sum, piece);
        }
    }
    sum
}

/// Adds 16-bit words to `sum`; a last odd byte counts as followed by 0. A frame has too few bytes to overflow 32 bits.
fn add(sum: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |&byte| u32::from(byte) << 8);
    words.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum::<u32>() + sum + last
}

/// Returns the checksum of the words that were added.
const fn finish(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
