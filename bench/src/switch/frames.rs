//! Frames of flows, and the keys of them that `rte_hash` has.

use crate::dpdk::KEY_LEN;
use serde::Serialize;

/// Bytes of a frame of IPv4 without a tag: the shortest one of Ethernet without its checksum.
pub const PLAIN: usize = 60;
/// Bytes of the longest frame.
pub const LONGEST: usize = 98;

/// What a frame has around its TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Headers {
    /// IPv4, 60 bytes.
    #[serde(rename = "IPv4")]
    Ipv4,
    /// A tag and IPv4, 64 bytes.
    #[serde(rename = "VLAN")]
    Vlan,
    /// IPv6, 80 bytes.
    #[serde(rename = "IPv6")]
    Ipv6,
    /// A network service header of MD type 1 around a frame of IPv4, 98 bytes. See: RFC 8300, 2.
    #[serde(rename = "NSH")]
    Nsh,
}

/// A frame.
pub struct Frame {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Frame {
    /// Returns the frame of flow `flow`: TCP if the number is even, else UDP. Its destination is one of 32.
    pub fn of(headers: Headers, flow: u32) -> Self {
        let plain = plain(flow);
        let mut frame = Self { bytes: [0; LONGEST], len: 0 };
        frame.add(&plain[..12]);
        match headers {
            Headers::Ipv4 => {}
            Headers::Vlan => frame.add(&[0x81, 0, 0, 5]),
            Headers::Ipv6 => {
                frame.add(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 26, plain[23], 64]);
                frame.add(&[0xfd; 28]);
                frame.add(&plain[26..30]);
                frame.add(&plain[34..]);
                return frame;
            }
            Headers::Nsh => {
                frame.add(&[0x89, 0x4f, 0x0f, 0xc6, 1, 3, 0, 0, 1, 255]);
                frame.add(&[0; 16]);
                frame.add(&plain[..12]);
            }
        }
        frame.add(&plain[12..]);
        frame
    }

    /// Returns the frame's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

/// Returns the key of flow `flow` for `rte_hash`: the bytes of its frames from the time to live on, in which protocol,
/// addresses and ports stay and all else is 0. It is the key of DPDK's example l3fwd.
pub fn key(flow: u32) -> [u8; KEY_LEN] {
    let frame = plain(flow);
    let mut key = [0; KEY_LEN];
    key[1] = frame[23];
    key[4..].copy_from_slice(&frame[26..38]);
    key
}

fn plain(flow: u32) -> [u8; PLAIN] {
    let mut frame = [0; PLAIN];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, flow as u8 % 32, 6, 6, 0, 0, 0, 1, 8, 0]);
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, if flow.is_multiple_of(2) { 6 } else { 17 }]);
    let mixed = u64::from(flow).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    frame[26..30].copy_from_slice(&flow.to_be_bytes());
    frame[30..38].copy_from_slice(&mixed.to_be_bytes());
    // The length of UDP; the sequence number of TCP.
    frame[38..40].copy_from_slice(&[0, 26]);
    frame[46] = 0x50;
    frame
}

/// Numbers of flows, drawn evenly. Two that begin alike go on alike.
pub struct Draw {
    flows: u32,
    state: u64,
}

impl Draw {
    /// Returns a draw from flows 0 to `flows`.
    pub fn new(flows: u32) -> Self {
        Self { flows, state: 0x5851_f42d_4c95_7f2d }
    }

    /// Returns the next flow. See: D. E. Knuth, "The Art of Computer Programming", volume 2, 3.3.4, for the multiplier.
    pub fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.state >> 32) * u64::from(self.flows)) >> 32) as u32
    }
}

/// Frames of IPv4 whose addresses, ports and protocol are drawn evenly from a number of such headers, and that are of
/// no flow: the first byte of their destination is another one.
pub struct Strangers(Draw);

impl Strangers {
    /// Returns frames with `count` headers.
    pub fn new(count: u32) -> Self {
        Self(Draw::new(count))
    }

    /// Returns the next one.
    pub fn next(&mut self) -> [u8; PLAIN] {
        let number = self.0.next();
        let mut frame = plain(number);
        let mixed = u64::from(number).wrapping_mul(0xd6e8_feb8_6659_fd93).to_be_bytes();
        frame[..6].copy_from_slice(&[0x0a, mixed[0], mixed[1], mixed[2], mixed[3], mixed[4]]);
        frame[7..12].copy_from_slice(&mixed[2..7]);
        frame[26..30].copy_from_slice(&mixed[1..5]);
        frame
    }
}
