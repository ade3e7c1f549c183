//! Classic capture files, read in place. See: draft-ietf-opsawg-pcap "PCAP Capture File Format".
//!
//! Both byte orders, microseconds and nanoseconds. A file that is cut off or wrong gives a [`BadFile`] that says what and at
//! which byte; it never gives half a record.
//!
//! # Why not one of the crates
//! pcap-parser and pcap-file need `std`; this runs in a VM without an allocator. pcap-file is the oracle of the tests.

use core::fmt;

/// Bytes of the file header.
pub const FILE_HEADER_LEN: usize = 24;
/// Bytes of the header before each record.
pub const RECORD_HEADER_LEN: usize = 16;

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
/// LINKTYPE_ETHERNET
const ETHERNET: u16 = 1;

/// A header as it stands in the file.
pub type RecordHeader = [u8; RECORD_HEADER_LEN];

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'f> {
    /// Its header as it stands in the file: times and lengths.
    pub header: &'f RecordHeader,
    /// The bytes that were captured.
    pub frame: &'f [u8],
    /// Where the header starts in the file.
    pub at: usize,
}

/// Which byte order a file's numbers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// The order in which the magic of `header` makes sense.
    pub fn of(header: &[u8; FILE_HEADER_LEN]) -> Option<Self> {
        [Self::Little, Self::Big]
            .into_iter()
            .find(|order| [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS].contains(&order.u32(header, 0)))
    }

    /// Captured length of the record with this header, bytes.
    pub fn captured(self, header: &RecordHeader) -> u32 {
        self.u32(header, 8)
    }

    fn u32<const N: usize>(self, bytes: &[u8; N], at: usize) -> u32 {
        let word = core::array::from_fn(|i| bytes[at + i]);
        match self {
            Self::Little => u32::from_le_bytes(word),
            Self::Big => u32::from_be_bytes(word),
        }
    }

    fn u16<const N: usize>(self, bytes: &[u8; N], at: usize) -> u16 {
        let word = core::array::from_fn(|i| bytes[at + i]);
        match self {
            Self::Little => u16::from_le_bytes(word),
            Self::Big => u16::from_be_bytes(word),
        }
    }
}

/// What is wrong with a file, and the byte where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// Bytes from the start of the file.
    pub at: usize,
    /// What is wrong.
    pub what: Wrong,
}

/// Ways in which a file can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The file ends within its header: so many bytes of it are there.
    FileHeaderCut(usize),
    /// The first four bytes are no known magic number.
    Magic([u8; 4]),
    /// Not version 2.4.
    Version([u16; 2]),
    /// Not Ethernet.
    LinkType(u16),
    /// The file ends within a record's header: so many bytes of it are there.
    RecordHeaderCut(usize),
    /// The file ends within a record: it says the first number of bytes and has the second.
    RecordCut(u32, usize),
    /// The record is longer than the frame was on the network.
    LongerThanOriginal(u32, u32),
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: ", self.at)?;
        match self.what {
            Wrong::FileHeaderCut(have) => write!(f, "truncated: {have} of {FILE_HEADER_LEN} bytes of the file header"),
            Wrong::Magic([a, b, c, d]) => write!(f, "not a pcap file: it starts with {a:02x} {b:02x} {c:02x} {d:02x}"),
            Wrong::Version([major, minor]) => write!(f, "version {major}.{minor}, want 2.4"),
            Wrong::LinkType(number) => write!(f, "link type {number}, want 1 (Ethernet)"),
            Wrong::RecordHeaderCut(have) => {
                write!(f, "truncated: {have} of {RECORD_HEADER_LEN} bytes of a record header")
            }
            Wrong::RecordCut(want, have) => write!(f, "truncated: {have} of {want} bytes of a record"),
            Wrong::LongerThanOriginal(len, original) => write!(f, "{len} bytes captured of a frame of {original}"),
        }
    }
}

/// A capture file whose header is right.
#[derive(Clone, Copy, Debug)]
pub struct Capture<'f> {
    file: &'f [u8],
    header: &'f [u8; FILE_HEADER_LEN],
    order: ByteOrder,
}

impl<'f> Capture<'f> {
    /// Checks the header of `file`.
    pub fn open(file: &'f [u8]) -> Result<Self, BadFile> {
        let wrong = |at, what| BadFile { at, what };
        let header = file.first_chunk().ok_or(wrong(file.len(), Wrong::FileHeaderCut(file.len())))?;
        let magic = core::array::from_fn(|i| header[i]);
        let order = ByteOrder::of(header).ok_or(wrong(0, Wrong::Magic(magic)))?;
        let version = [order.u16(header, 4), order.u16(header, 6)];
        // The upper half of the last word tells about frame check sequences: no matter here.
        let link_type = order.u32(header, 20) as u16;
        match (version, link_type) {
            (VERSION, ETHERNET) => Ok(Self { file, header, order }),
            (VERSION, _) => Err(wrong(20, Wrong::LinkType(link_type))),
            _ => Err(wrong(4, Wrong::Version(version))),
        }
    }

    /// The header as it stands in the file.
    pub const fn header(&self) -> &'f [u8; FILE_HEADER_LEN] {
        self.header
    }

    /// The records from the first on; ends after the first error.
    pub const fn records(&self) -> Records<'f> {
        Records { capture: *self, at: FILE_HEADER_LEN }
    }
}

/// Iterator over the records of a [`Capture`].
#[derive(Clone, Debug)]
pub struct Records<'f> {
    capture: Capture<'f>,
    at: usize,
}

impl<'f> Records<'f> {
    fn record(&self) -> Result<Record<'f>, BadFile> {
        let Self { capture: Capture { file, order, .. }, at } = *self;
        let wrong = |at, what| BadFile { at, what };
        let rest = &file[at..];
        let (header, rest) = rest.split_first_chunk().ok_or(wrong(file.len(), Wrong::RecordHeaderCut(rest.len())))?;
        let (len, original) = (order.captured(header), order.u32(header, 12));
        if len > original {
            return Err(wrong(at + 8, Wrong::LongerThanOriginal(len, original)));
        }
        let frame = rest.get(..len as usize).ok_or(wrong(file.len(), Wrong::RecordCut(len, rest.len())))?;
        Ok(Record { header, frame, at })
    }
}

impl<'f> Iterator for Records<'f> {
    type Item = Result<Record<'f>, BadFile>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.capture.file.len() {
            return None;
        }
        let record = self.record();
        self.at = match record {
            Ok(Record { frame, at, .. }) => at + RECORD_HEADER_LEN + frame.len(),
            Err(_) => self.capture.file.len(),
        };
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
    use pcap_file::{Endianness, TsResolution};
    use proptest::prelude::*;
    use std::time::Duration;

    fn any_file() -> impl Strategy<Value = (Vec<u8>, Vec<Vec<u8>>)> {
        let frames = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 0..8);
        (frames, any::<bool>(), any::<bool>()).prop_map(|(frames, big, nano)| (written(&frames, big, nano), frames))
    }

    fn written(frames: &[Vec<u8>], big: bool, nano: bool) -> Vec<u8> {
        let header = PcapHeader {
            endianness: if big { Endianness::Big } else { Endianness::Little },
            ts_resolution: if nano { TsResolution::NanoSecond } else { TsResolution::MicroSecond },
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
        for (number, frame) in frames.iter().enumerate() {
            let packet = PcapPacket::new(Duration::from_secs(number as u64), frame.len() as u32, frame);
            writer.write_packet(&packet).unwrap();
        }
        writer.into_writer()
    }

    proptest! {
        #[test]
        fn reads_what_another_crate_wrote((file, frames) in any_file()) {
            let records: Result<Vec<_>, _> = Capture::open(&file).unwrap().records().collect();
            prop_assert_eq!(records.unwrap().iter().map(|r| r.frame.to_vec()).collect::<Vec<_>>(), frames);
        }

        #[test]
        fn every_cut_is_an_error_that_names_the_end((file, _) in any_file()) {
            let whole: Vec<usize> = Capture::open(&file).unwrap().records().map(|r| r.unwrap().at).chain([file.len()]).collect();
            for cut in 0..file.len() {
                let error = match Capture::open(&file[..cut]) {
                    Err(error) => Some(error),
                    Ok(capture) => capture.records().find_map(Result::err),
                };
                let between_records = whole.contains(&cut);
                prop_assert_eq!(error.map(|e| e.at), (!between_records).then_some(cut));
            }
        }

        #[test]
        fn bytes_of_any_kind_never_panic(mut file in prop::collection::vec(any::<u8>(), 0..200), good_header: bool) {
            let header = written(&[], false, false);
            if good_header && file.len() >= header.len() {
                file[..header.len()].copy_from_slice(&header);
            }
            let ours = Capture::open(&file).and_then(|capture| capture.records().collect::<Result<Vec<_>, _>>());
            let theirs = PcapReader::new(&file[..]).ok();
            prop_assert!(ours.is_err() || theirs.is_some());
        }
    }

    #[test]
    fn each_error_says_what_and_where() {
        let good = written(&[vec![7; 60]], false, false);
        let with = |at: usize, bytes: &[u8]| {
            let mut file = good.clone();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            Capture::open(&file).and_then(|c| c.records().collect::<Result<Vec<_>, _>>()).unwrap_err().to_string()
        };
        assert_eq!(with(0, &[0x0a, 0x0d, 0x0d, 0x0a]), "byte 0: not a pcap file: it starts with 0a 0d 0d 0a");
        assert_eq!(with(4, &[3]), "byte 4: version 3.4, want 2.4");
        assert_eq!(with(20, &[113]), "byte 20: link type 113, want 1 (Ethernet)");
        assert_eq!(with(32, &[61]), "byte 32: 61 bytes captured of a frame of 60");
        assert_eq!(with(32, &[70, 0, 0, 0, 70]), "byte 100: truncated: 60 of 70 bytes of a record");
        let cut = Capture::open(&good[..30]).unwrap().records().next().unwrap().unwrap_err();
        assert_eq!(cut.to_string(), "byte 30: truncated: 6 of 16 bytes of a record header");
        assert_eq!(
            Capture::open(&good[..5]).unwrap_err().to_string(),
            "byte 5: truncated: 5 of 24 bytes of the file header"
        );
    }
}
