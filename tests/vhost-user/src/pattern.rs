//! Frames that are known again: length and payload follow from pair and number.

use crate::traffic::LONGEST;

/// Where the payload starts: two MAC addresses, ethertype, pair, kind, number.
const PAYLOAD: usize = 28;
/// "Local Experimental Ethertype 1". See: IEEE 802 "Overview and Architecture", 9.2.4.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// What a frame is for.
#[derive(Clone, Copy)]
pub enum Kind {
    /// To see whether the peer sends anything back yet; may get lost.
    Probe = 1,
    /// Counted.
    Counted = 2,
}

/// Makes frames and knows them again.
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// Places where a payload can start.
    const STARTS: u64 = 4_096;

    /// All payloads there can be, one within the other.
    pub fn new() -> Self {
        let words = (Self::STARTS as usize + LONGEST).div_ceil(8) as u64;
        Self((1..=words).flat_map(|word| mix(word).to_le_bytes()).collect())
    }

    /// Bytes of frame `number`.
    pub fn len(number: u64, long_frames: bool) -> usize {
        let random = mix(number) as usize >> 1;
        if long_frames && number % 8 == 3 { 60 + random % (LONGEST - 59) } else { 60 + random % 1_441 }
    }

    fn payload(&self, pair: u16, number: u64, len: usize) -> &[u8] {
        let start = mix(number ^ u64::from(pair) << 48).wrapping_mul(31) >> 7;
        &self.0[(start % Self::STARTS) as usize..][..len - PAYLOAD]
    }

    /// Makes all of `frame` the one with that number.
    pub fn write(&self, kind: Kind, pair: u16, number: u64, frame: &mut [u8]) {
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        frame[12..14].copy_from_slice(&ETHERTYPE);
        frame[14..16].copy_from_slice(&pair.to_le_bytes());
        frame[16..20].copy_from_slice(&(kind as u32).to_le_bytes());
        frame[20..PAYLOAD].copy_from_slice(&number.to_le_bytes());
        let len = frame.len();
        frame[PAYLOAD..].copy_from_slice(self.payload(pair, number, len));
    }

    /// Number of `frame`, if it is one of that kind, whole.
    pub fn read(&self, kind: Kind, pair: u16, len: impl Fn(u64) -> usize, frame: &[u8]) -> Option<u64> {
        let number = u64::from_le_bytes(frame.get(20..PAYLOAD)?.try_into().ok()?);
        let head = frame.get(12..20)?;
        let is_head =
            head[..2] == ETHERTYPE && head[2..4] == pair.to_le_bytes() && head[4..] == (kind as u32).to_le_bytes();
        (is_head && frame.len() == len(number) && frame[PAYLOAD..] == *self.payload(pair, number, frame.len()))
            .then_some(number)
    }
}

/// Spreads the bits of `value`: each result once, and looking random. Source: the finalizer of MurmurHash3 (public domain).
const fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}
