//! Frames between sender and receiver that are not in the capture: they carry what a frame alone does not, its record header.
//!
//! A *start* frame has the file header, each *records* frame the headers of the records whose frames come next, the *end* frame
//! the number of all. So the receiver can write the very file that the sender read.
//!
//! | bytes | what |
//! |---|---|
//! | 0..14 | Ethernet: destination, source, EtherType 0x88B5 |
//! | 14..22 | [`MAGIC`] |
//! | 22..24 | 1 start, 2 records, 3 end; little-endian |
//! | 24..28 | records: how many headers follow; end: how many frames there were; little-endian |
//! | 28.. | start: the file header; records: the record headers |
//!
//! # Why not fresh times
//! A capture program stamps frames as they arrive, and so every run would write another file. Here `cmp` of the two files proves
//! that each byte arrived, and no tool has to know what may differ.

use crate::format::{FILE_HEADER_LEN, RECORD_HEADER_LEN, RecordHeader};

/// IEEE 802 "Local Experimental EtherType 1". See: RFC 9542 section 3.
pub const ETHER_TYPE: u16 = 0x88b5;
/// What follows the EtherType.
pub const MAGIC: [u8; 8] = *b"SluicePc";
/// Most record headers in one frame.
pub const MAX_RECORDS: usize = 64;
/// Bytes of the longest frame of this kind.
pub const MAX_LEN: usize = BODY + MAX_RECORDS * RECORD_HEADER_LEN;

const BODY: usize = 28;
/// Shortest Ethernet frame, without its check sequence. See: IEEE 802.3 clause 4.4.2.
const MIN_LEN: usize = 60;

/// What a frame announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement<'f> {
    /// The file header.
    Start(&'f [u8; FILE_HEADER_LEN]),
    /// The record headers of the frames that come next, at most [`MAX_RECORDS`].
    Records(&'f [RecordHeader]),
    /// All was sent: so many frames.
    End(u32),
}

impl<'f> Announcement<'f> {
    /// The announcement in `frame`; `None` if it is an ordinary frame.
    pub fn read(frame: &'f [u8]) -> Option<Result<Self, Malformed>> {
        let is_ours = frame.get(12..14)? == ETHER_TYPE.to_be_bytes() && frame.get(14..22)? == MAGIC;
        is_ours.then(|| Self::body(frame).ok_or(Malformed))
    }

    fn body(frame: &'f [u8]) -> Option<Self> {
        let kind = u16::from_le_bytes(*frame.get(22..)?.first_chunk()?);
        let count = u32::from_le_bytes(*frame.get(24..)?.first_chunk()?);
        let body = frame.get(BODY..)?;
        match kind {
            1 => body.first_chunk().map(Self::Start),
            2 if count as usize <= MAX_RECORDS => {
                let (headers, _) = body.as_chunks();
                headers.get(..count as usize).map(Self::Records)
            }
            3 => Some(Self::End(count)),
            _ => None,
        }
    }

    /// Writes the announcement, from `source` to `destination`, into `bytes`; the part of `bytes` that it fills.
    pub fn write<'b>(&self, bytes: &'b mut [u8; MAX_LEN], destination: [u8; 6], source: [u8; 6]) -> &'b [u8] {
        bytes.fill(0);
        let (kind, count, body): (u16, u32, &[u8]) = match self {
            Self::Start(header) => (1, 0, &header[..]),
            Self::Records(headers) => (2, headers.len() as u32, headers.as_flattened()),
            Self::End(count) => (3, *count, &[]),
        };
        bytes[..6].copy_from_slice(&destination);
        bytes[6..12].copy_from_slice(&source);
        bytes[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
        bytes[14..22].copy_from_slice(&MAGIC);
        bytes[22..24].copy_from_slice(&kind.to_le_bytes());
        bytes[24..BODY].copy_from_slice(&count.to_le_bytes());
        bytes[BODY..BODY + body.len()].copy_from_slice(body);
        &bytes[..MIN_LEN.max(BODY + body.len())]
    }
}

/// A frame that starts like an announcement and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let headers = [[7; RECORD_HEADER_LEN]; MAX_RECORDS];
        for announcement in [
            Announcement::Start(&[3; FILE_HEADER_LEN]),
            Announcement::Records(&headers),
            Announcement::Records(&headers[..1]),
            Announcement::End(70_000),
        ] {
            let mut bytes = [0xee; MAX_LEN];
            let frame = announcement.write(&mut bytes, [2; 6], [4; 6]);
            assert!(frame.len() >= MIN_LEN);
            assert_eq!(Announcement::read(frame), Some(Ok(announcement)));
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic(mut frame in prop::collection::vec(any::<u8>(), 22..100)) {
            prop_assert_eq!(Announcement::read(&frame), None);
            frame[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
            frame[14..22].copy_from_slice(&MAGIC);
            prop_assert!(Announcement::read(&frame).is_some());
        }
    }
}
