//! The frames that stations exchange: ARP (RFC 826) and ICMP echo (RFC 792) in IPv4, in the network 10.0.0.0.

/// The broadcast address.
pub const BROADCAST: [u8; 6] = [0xff; 6];
const ARP: u16 = 0x806;
const IPV4: u16 = 0x800;
/// The length of every frame that a station makes or reads, bytes.
pub const LEN: usize = 60;

/// The bytes of a frame, as far as a station reads them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame(pub [u8; LEN]);

impl Frame {
    fn new(destination: [u8; 6], source: [u8; 6], kind: u16, payload: &[u8]) -> Self {
        let mut frame = Self([0; LEN]);
        for (at, part) in [(0, &destination[..]), (6, &source), (12, &kind.to_be_bytes()), (14, payload)] {
            frame.0[at..at + part.len()].copy_from_slice(part);
        }
        frame
    }

    fn at<const N: usize>(&self, offset: usize) -> [u8; N] {
        core::array::from_fn(|index| self.0[offset + index])
    }

    pub fn destination(&self) -> [u8; 6] {
        self.at(0)
    }

    pub fn source(&self) -> [u8; 6] {
        self.at(6)
    }

    pub fn kind(&self) -> u16 {
        u16::from_be_bytes(self.at(12))
    }

    /// Returns the same frame to `destination`.
    pub fn to(self, destination: [u8; 6]) -> Self {
        Self::new(destination, self.source(), self.kind(), &self.0[14..])
    }
}

fn arp(destination: [u8; 6], operation: u8, from: ([u8; 6], u8), to: ([u8; 6], u8)) -> Frame {
    let mut payload = [0; 28];
    payload[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, operation]);
    for (at, (mac, host)) in [(8, from), (18, to)] {
        payload[at..at + 6].copy_from_slice(&mac);
        payload[at + 6..at + 10].copy_from_slice(&[10, 0, 0, host]);
    }
    Frame::new(destination, from.0, ARP, &payload)
}

/// Asks everybody for the address of 10.0.0.`host`.
pub fn arp_request(mac: [u8; 6], own: u8, host: u8) -> Frame {
    arp(BROADCAST, 1, (mac, own), ([0; 6], host))
}

/// Returns the operation of an ARP packet, its sender, and its target.
fn parse_arp(frame: &Frame) -> Option<(u8, u8, u8)> {
    let right = frame.kind() == ARP && frame.at(14) == [0, 1, 8, 0, 6, 4, 0];
    let [sender, target] = [28, 38].map(|at| frame.at::<4>(at));
    let known = [sender, target].iter().all(|address| address[..3] == [10, 0, 0]);
    (right && known).then_some((frame.0[21], sender[3], target[3]))
}

/// Returns the host that sent an ARP request.
pub fn arp_sender(frame: &Frame) -> Option<u8> {
    parse_arp(frame).filter(|(operation, ..)| *operation == 1).map(|(_, sender, _)| sender)
}

/// Returns the address of 10.0.0.`host`, if `frame` tells it.
pub fn arp_answer(frame: &Frame, host: u8) -> Option<[u8; 6]> {
    parse_arp(frame).filter(|&(operation, sender, _)| operation == 2 && sender == host).map(|_| frame.at(22))
}

/// Returns the answer of 10.0.0.`own` at `mac` to `frame`, if it needs one, and the number of the ping that it was.
pub fn answer(frame: &Frame, mac: [u8; 6], own: u8) -> Option<(Frame, Option<u16>)> {
    match (parse_arp(frame), Echo::parse(frame)) {
        (Some((1, host, target)), _) if target == own => {
            Some((arp(frame.source(), 2, (mac, own), (frame.source(), host)), None))
        }
        (None, Some(echo)) if !echo.is_answer => {
            Some((Echo { is_answer: true, ..echo }.frame(mac, frame.source()), Some(echo.sequence)))
        }
        _ => None,
    }
}

/// A ping, or its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    pub sequence: u16,
    pub is_answer: bool,
}

impl Echo {
    /// The headers of IPv4 and ICMP without data. The addresses are those of the first two stations.
    pub fn frame(self, source: [u8; 6], destination: [u8; 6]) -> Frame {
        let (from, to) = if self.is_answer { (2, 1) } else { (1, 2) };
        let mut packet = [0; 28];
        packet[..12].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0]);
        packet[12..20].copy_from_slice(&[10, 0, 0, from, 10, 0, 0, to]);
        packet[20] = if self.is_answer { 0 } else { 8 };
        packet[26..28].copy_from_slice(&self.sequence.to_be_bytes());
        for (at, end) in [(10, 20), (22, 28)] {
            let sum = checksum(&packet[if at == 10 { 0 } else { 20 }..end]);
            packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        Frame::new(destination, source, IPV4, &packet)
    }

    /// Returns `frame` as a ping or an answer to one, if its checksums are right.
    pub fn parse(frame: &Frame) -> Option<Self> {
        let right = frame.kind() == IPV4 && frame.0[14] == 0x45 && frame.0[23] == 1 && matches!(frame.0[34], 0 | 8);
        let whole = checksum(&frame.0[14..34]) == 0 && checksum(&frame.0[34..42]) == 0;
        let sequence = u16::from_be_bytes(frame.at(40));
        (right && whole).then_some(Self { sequence, is_answer: frame.0[34] == 0 })
    }
}

/// Returns the Internet checksum. See: RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
