//! Frames that can be recognized: length and payload follow from pair and number.

use crate::traffic::LONGEST;

/// The offset of the payload, bytes. Before it: two MAC addresses, ethertype, pair, kind, number.
const PAYLOAD: usize = 28;
/// "Local Experimental Ethertype 1". See: IEEE 802 "Overview and Architecture", 9.2.4.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// The purpose of a frame.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A probe shows whether the peer sends anything back yet, and may get lost.
    Probe = 1,
    /// A counted frame has to come back.
    Counted = 2,
}

/// The payloads of all frames: makes frames, and recognizes them.
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// The number of offsets at which a payload can start.
    const STARTS: u64 = 4_096;

    /// Makes the bytes that all payloads are parts of.
    pub fn new() -> Self {
        let words = (Self::STARTS as usize + LONGEST).div_ceil(8) as u64;
        Self((1..=words).flat_map(|word| mix(word).to_le_bytes()).collect())
    }

    /// Returns the length of frame `number`, bytes.
    pub fn len(number: u64, long_frames: bool) -> usize {
        let random = mix(number) as usize >> 1;
        if long_frames && number % 8 == 3 { 60 + random % (LONGEST - 59) } else { 60 + random % 1_441 }
    }

    fn payload(&self, pair: u16, number: u64, len: usize) -> &[u8] {
        let start = mix(number ^ u64::from(pair) << 48).wrapping_mul(31) >> 7;
        &self.0[(start % Self::STARTS) as usize..][..len - PAYLOAD]
    }

    /// Fills `frame` with the header and payload of frame `number`.
    pub fn write(&self, kind: Kind, pair: u16, number: u64, frame: &mut [u8]) {
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        frame[12..14].copy_from_slice(&ETHERTYPE);
        frame[14..16].copy_from_slice(&pair.to_le_bytes());
        frame[16..20].copy_from_slice(&(kind as u32).to_le_bytes());
        frame[20..PAYLOAD].copy_from_slice(&number.to_le_bytes());
        let len = frame.len();
        frame[PAYLOAD..].copy_from_slice(self.payload(pair, number, len));
    }

    /// Returns the number of `frame`, if all its bytes are those of a frame of that kind.
    pub fn read(&self, kind: Kind, pair: u16, len: impl Fn(u64) -> usize, frame: &[u8]) -> Option<u64> {
        let number = u64::from_le_bytes(frame.get(20..PAYLOAD)?.try_into().ok()?);
        let head = frame.get(12..20)?;
        let is_head =
            head[..2] == ETHERTYPE && head[2..4] == pair.to_le_bytes() && head[4..] == (kind as u32).to_le_bytes();
        (is_head && frame.len() == len(number) && frame[PAYLOAD..] == *self.payload(pair, number, frame.len()))
            .then_some(number)
    }
}

/// Spreads the bits of `value`. The function is one to one. Source: the finalizer of MurmurHash3 (public domain).
const fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}
