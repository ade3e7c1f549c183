//! The test frame: what the sender writes and the receiver checks, byte for byte.
//!
//! | bytes | what |
//! |---|---|
//! | 0..14 | Ethernet: destination, source, EtherType 0x88B5 |
//! | 14..16 | [`Kind`] |
//! | 16..20 | [`MAGIC`] |
//! | 20..22 | row that the frame belongs to |
//! | 22..24 | bytes of the whole frame |
//! | 24..32 | sequence number, from 0, through all rows |
//! | 32..40 | checksum of the whole frame, this field taken as 0 |
//! | 40.. | filling that depends on the sequence number, so that a piece of another frame never fits |
//!
//! All fields are little-endian.
//!
//! # Why not a CRC
//! The frame is checked in an emulator, where every instruction counts: three a word are enough here. Each step
//! of [`step`] is a bijection of the state for a fixed word and of the word for a fixed state. So any damage that is
//! confined to one aligned 8-byte word is found with certainty, and any other, such as the tail of another frame, is
//! missed once in about 2^64. Against somebody who means harm it is worth nothing.

/// IEEE 802 "Local Experimental EtherType 1": never seen on a real network. See: RFC 9542 section 3.
pub const ETHER_TYPE: u16 = 0x88b5;
/// "SluB"
pub const MAGIC: u32 = u32::from_le_bytes(*b"SluB");
/// Bytes before the filling.
pub const HEADER_LEN: usize = 40;
/// Shortest and longest frame that a row can ask for.
pub const FRAME_LENGTHS: core::ops::RangeInclusive<u16> = 60..=1518;

const CHECKSUM_AT: usize = 32;
const WORD: usize = 8;

/// The purpose of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// To be counted and checked.
    Data = 1,
    /// The last one; its sequence number is the number of data frames sent.
    Fin = 2,
}

/// The fields that distinguish one test frame from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Data or end.
    pub kind: Kind,
    /// Row of the table.
    pub row: u16,
    /// Place in the stream.
    pub sequence: u64,
}

/// Why a frame is not the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// Not a test frame at all.
    Foreign,
    /// Longer or shorter than it says.
    Length,
    /// Damaged somewhere.
    Checksum,
}

/// Destination and source address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The receiver's.
    pub destination: [u8; 6],
    /// The sender's.
    pub source: [u8; 6],
}

/// Fills all of `bytes` (at least [`HEADER_LEN`]) with the frame `header` describes.
pub fn write(bytes: &mut [u8], addresses: Addresses, header: Header) {
    let len = bytes.len() as u16;
    let (head, filling) = bytes.split_at_mut(HEADER_LEN);
    head[..6].copy_from_slice(&addresses.destination);
    head[6..12].copy_from_slice(&addresses.source);
    head[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
    head[14..16].copy_from_slice(&(header.kind as u16).to_le_bytes());
    head[16..20].copy_from_slice(&MAGIC.to_le_bytes());
    head[20..22].copy_from_slice(&header.row.to_le_bytes());
    head[22..24].copy_from_slice(&len.to_le_bytes());
    head[24..32].copy_from_slice(&header.sequence.to_le_bytes());
    head[32..40].fill(0);
    fill(filling, header.sequence);
    let sum = checksum(bytes);
    bytes[CHECKSUM_AT..HEADER_LEN].copy_from_slice(&sum.to_le_bytes());
}

/// The header of a frame that arrived whole.
pub fn check(bytes: &[u8]) -> Result<Header, Torn> {
    let head: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(Torn::Foreign)?;
    if field(head, 12) != ETHER_TYPE.to_be_bytes() || field(head, 16) != MAGIC.to_le_bytes() {
        return Err(Torn::Foreign);
    }
    if usize::from(u16::from_le_bytes(field(head, 22))) != bytes.len() {
        return Err(Torn::Length);
    }
    if u64::from_le_bytes(field(head, CHECKSUM_AT)) != checksum(bytes) {
        return Err(Torn::Checksum);
    }
    let kind = match u16::from_le_bytes(field(head, 14)) {
        1 => Kind::Data,
        2 => Kind::Fin,
        _ => return Err(Torn::Foreign),
    };
    Ok(Header { kind, row: u16::from_le_bytes(field(head, 20)), sequence: u64::from_le_bytes(field(head, 24)) })
}

fn field<const N: usize>(head: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    core::array::from_fn(|i| head[at + i])
}

fn fill(filling: &mut [u8], sequence: u64) {
    let mut value = (sequence ^ u64::from(MAGIC)).wrapping_mul(FACTOR);
    let mut words = filling.chunks_exact_mut(WORD);
    for word in &mut words {
        value = value.wrapping_add(FACTOR);
        word.copy_from_slice(&value.to_le_bytes());
    }
    words.into_remainder().fill(value as u8);
}

/// An odd number without pattern: 2^64 divided by pi, rounded to odd.
const FACTOR: u64 = 0x517c_c1b7_2722_0a95;

fn step(state: u64, word: u64) -> u64 {
    (state.rotate_left(5) ^ word).wrapping_mul(FACTOR)
}

/// The checksum of `bytes`, whose checksum field counts as 0.
fn checksum(bytes: &[u8]) -> u64 {
    let (head, filling) = bytes.split_at(HEADER_LEN);
    let state = sum(bytes.len() as u64, &head[..CHECKSUM_AT]);
    sum(step(state, 0), filling)
}

fn sum(state: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(WORD);
    let rest = words.remainder();
    let state = words.fold(state, |state, word| step(state, u64::from_le_bytes(core::array::from_fn(|i| word[i]))));
    let last = rest.iter().fold(0, |last, &byte| last << 8 | u64::from(byte));
    if rest.is_empty() { state } else { step(state, last) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(len: usize, header: Header) -> Vec<u8> {
        let mut bytes = vec![0xee; len];
        write(&mut bytes, Addresses { destination: [2; 6], source: [4; 6] }, header);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(len in 60usize..=1518, row: u16, sequence: u64) {
            let header = Header { kind: Kind::Data, row, sequence };
            prop_assert_eq!(check(&frame(len, header)), Ok(header));
        }

        #[test]
        fn one_changed_byte_is_found(len in 60usize..=1518, at: prop::sample::Index, change in 1u8.., sequence: u64) {
            let mut bytes = frame(len, Header { kind: Kind::Data, row: 1, sequence });
            let at = at.index(len);
            bytes[at] ^= change;
            prop_assert!(check(&bytes).is_err());
        }

        #[test]
        fn the_tail_of_another_frame_is_found(
            len in 60usize..=1518,
            cut: prop::sample::Index,
            sequence in 0..u64::MAX,
        ) {
            let whole = frame(len, Header { kind: Kind::Data, row: 1, sequence });
            let mut torn = whole.clone();
            let other = frame(len, Header { kind: Kind::Data, row: 1, sequence: sequence + 1 });
            let cut = 24 + cut.index(len - 24);
            torn[cut..].copy_from_slice(&other[cut..]);
            prop_assert!(torn == whole || torn == other || check(&torn).is_err());
        }

        #[test]
        fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(check(&bytes).is_err());
        }
    }

    #[test]
    fn a_shorter_or_longer_frame_is_found() {
        let header = Header { kind: Kind::Fin, row: 0, sequence: 9 };
        let mut bytes = frame(64, header);
        assert_eq!(check(&bytes[..63]), Err(Torn::Length));
        bytes.push(0);
        assert_eq!(check(&bytes), Err(Torn::Length));
        assert_eq!(check(&bytes[..HEADER_LEN - 1]), Err(Torn::Foreign));
    }
}
