//! Frames between sender and receiver that are not in the capture: they carry the record headers, which a frame does
//! not have.
//!
//! A *start* frame has the file header, each *records* frame the headers of the records whose frames come next, the
//! *end* frame the number of all records. So the receiver can write the very file that the sender read.
//!
//! Only its place tells whether a frame is an announcement: the first frame is one, and each that follows the last
//! frame of those announced. The bytes of a capture's frame are never looked at, so a capture may hold any frames,
//! announcements included. A record without bytes is announced, and no frame follows for it.
//!
//! | bytes | what |
//! |---|---|
//! | 0..14 | Ethernet: destination, source, EtherType 0x88B5 |
//! | 14..22 | [`MAGIC`] |
//! | 22..24 | 1 start, 2 records, 3 end; little-endian |
//! | 24..28 | records: how many headers follow; little-endian |
//! | 28..36 | records of the capture before this frame; little-endian |
//! | 36.. | start: the file header; records: the record headers |
//!
//! # Why not fresh times
//! A capture program stamps frames as they arrive, so every run would write another file. Here `cmp` of the two files
//! proves that each byte arrived, and no tool has to know what may differ.

use crate::format::{FILE_HEADER_LEN, RECORD_HEADER_LEN, RecordHeader};

/// The EtherType "Local Experimental EtherType 1". See: RFC 9542 section 3.
pub const ETHER_TYPE: u16 = 0x88b5;
/// The bytes that follow the EtherType.
pub const MAGIC: [u8; 8] = *b"SluicePc";
/// The most record headers in one frame.
pub const MAX_RECORDS: usize = 64;
/// The length of the longest announcement, bytes.
pub const MAX_LEN: usize = BODY + MAX_RECORDS * RECORD_HEADER_LEN;

const BODY: usize = 36;
/// The shortest Ethernet frame, without its check sequence, bytes. See: IEEE 802.3 clause 4.4.2.
const MIN_LEN: usize = 60;

/// Returns the number of record headers that a frame of `longest` bytes has room for.
pub const fn records_in(longest: usize) -> usize {
    let room = longest.saturating_sub(BODY) / RECORD_HEADER_LEN;
    if room < MAX_RECORDS { room } else { MAX_RECORDS }
}

/// The content of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'f> {
    /// The file header.
    Start(&'f [u8; FILE_HEADER_LEN]),
    /// The record headers of the frames that come next, at most [`MAX_RECORDS`].
    Records(&'f [RecordHeader]),
    /// All frames were sent.
    End,
}

/// One announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement<'f> {
    /// The content of the announcement.
    pub what: What<'f>,
    /// The number of records of the capture before this frame.
    pub before: u64,
}

impl<'f> Announcement<'f> {
    /// Returns the announcement in `frame`, or `None` if it has none.
    pub fn read(frame: &'f [u8]) -> Option<Self> {
        let is_one = frame.get(12..14)? == ETHER_TYPE.to_be_bytes() && frame.get(14..22)? == MAGIC;
        let kind = u16::from_le_bytes(*frame.get(22..)?.first_chunk()?);
        let count = u32::from_le_bytes(*frame.get(24..)?.first_chunk()?) as usize;
        let before = u64::from_le_bytes(*frame.get(28..)?.first_chunk()?);
        let body = frame.get(BODY..)?;
        let what = match kind {
            _ if !is_one => return None,
            1 => What::Start(body.first_chunk()?),
            2 if count <= MAX_RECORDS => What::Records(body.as_chunks().0.get(..count)?),
            3 => What::End,
            _ => return None,
        };
        Some(Self { what, before })
    }

    /// Writes the announcement, from `source` to `destination`, into `bytes`. Returns the part of `bytes` that it
    /// fills.
    pub fn write<'b>(&self, bytes: &'b mut [u8; MAX_LEN], destination: [u8; 6], source: [u8; 6]) -> &'b [u8] {
        bytes.fill(0);
        let (kind, count, body): (u16, u32, &[u8]) = match self.what {
            What::Start(header) => (1, 0, &header[..]),
            What::Records(headers) => (2, headers.len() as u32, headers.as_flattened()),
            What::End => (3, 0, &[]),
        };
        bytes[..6].copy_from_slice(&destination);
        bytes[6..12].copy_from_slice(&source);
        bytes[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
        bytes[14..22].copy_from_slice(&MAGIC);
        bytes[22..24].copy_from_slice(&kind.to_le_bytes());
        bytes[24..28].copy_from_slice(&count.to_le_bytes());
        bytes[28..BODY].copy_from_slice(&self.before.to_le_bytes());
        bytes[BODY..BODY + body.len()].copy_from_slice(body);
        &bytes[..MIN_LEN.max(BODY + body.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let headers = [[7; RECORD_HEADER_LEN]; MAX_RECORDS];
        let all =
            [What::Start(&[3; FILE_HEADER_LEN]), What::Records(&headers), What::Records(&headers[..1]), What::End];
        for what in all {
            let announcement = Announcement { what, before: 5_000_000_000 };
            let mut bytes = [0xee; MAX_LEN];
            let frame = announcement.write(&mut bytes, [2; 6], [4; 6]);
            assert!(frame.len() >= MIN_LEN);
            assert_eq!(Announcement::read(frame), Some(announcement));
        }
    }

    #[test]
    fn an_announcement_is_as_long_as_the_peer_takes() {
        for longest in MIN_LEN..2000 {
            let count = records_in(longest);
            let headers = [[7; RECORD_HEADER_LEN]; MAX_RECORDS];
            let announcement = Announcement { what: What::Records(&headers[..count]), before: 0 };
            assert!(count >= 1 && announcement.write(&mut [0; MAX_LEN], [2; 6], [4; 6]).len() <= longest);
        }
        assert_eq!((records_in(82), records_in(1514), records_in(0)), (2, MAX_RECORDS, 0));
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_never_panic(mut frame in prop::collection::vec(any::<u8>(), 0..100), kind in 0u8..5) {
            prop_assert_eq!(Announcement::read(&frame), None);
            if frame.len() > 24 {
                frame[12..14].copy_from_slice(&ETHER_TYPE.to_be_bytes());
                frame[14..22].copy_from_slice(&MAGIC);
                frame[22..24].copy_from_slice(&[kind, 0]);
                let is_start = kind == 1 && frame.len() >= BODY + FILE_HEADER_LEN;
                let is_end = kind == 3 && frame.len() >= BODY;
                prop_assert_eq!(Announcement::read(&frame).is_some(), is_start || is_end);
            }
        }
    }
}
