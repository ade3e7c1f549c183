//! Classic capture files, read record by record, whatever their size. See: draft-ietf-opsawg-pcap "PCAP Capture File
//! Format".
//!
//! Both byte orders are read, and microseconds and nanoseconds. A file that is cut off or wrong gives a [`BadFile`]
//! that says what is wrong, and at which byte. The reader never returns half a record.
//!
//! # Why not one of the crates
//! pcap-parser and pcap-file need `std`, and this runs in a VM without an allocator. pcap-file is the oracle of the
//! tests.

use core::fmt;
use sluice_vnf::{FileError, Module};

/// The length of the file header, bytes.
pub const FILE_HEADER_LEN: usize = 24;
/// The length of the header before each record, bytes.
pub const RECORD_HEADER_LEN: usize = 16;

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
/// The number of LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;

/// The header of a file with little-endian numbers, microseconds and frames of up to 65,535 bytes.
pub const FILE_HEADER: [u8; FILE_HEADER_LEN] =
    [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0];

/// A record's header as it stands in the file.
pub type RecordHeader = [u8; RECORD_HEADER_LEN];

/// A source that a capture is read from.
pub trait Source {
    /// Returns the length of the source, bytes.
    fn len(&self) -> u64;

    /// Fills `bytes` with those from byte `at` on.
    fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), FileError>;
}

impl Source for Module {
    fn len(&self) -> u64 {
        self.len()
    }

    fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), FileError> {
        self.read(at, bytes)
    }
}

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's place in the file, from 1.
    pub number: u64,
    /// The header as it stands in the file: times and lengths.
    pub header: RecordHeader,
    /// The number of bytes that were captured, which follow the header.
    pub len: u32,
    /// The offset of the header in the file.
    pub at: u64,
}

/// The byte order of a file's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The least significant byte comes first.
    Little,
    /// The most significant byte comes first.
    Big,
}

impl ByteOrder {
    /// Returns the order in which the magic number of `header` is a known one.
    pub fn of(header: &[u8; FILE_HEADER_LEN]) -> Option<Self> {
        [Self::Little, Self::Big]
            .into_iter()
            .find(|order| [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS].contains(&order.u32(header, 0)))
    }

    /// Returns the captured length of the record with this header, bytes.
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

/// What is wrong with a file, and where.
#[derive(Debug)]
pub struct BadFile {
    /// The number of the record, from 1; 0 in the file header.
    pub record: u64,
    /// The offset from the start of the file, bytes.
    pub at: u64,
    /// What is wrong.
    pub what: Wrong,
}

/// The ways in which a file can be wrong.
#[derive(Debug)]
pub enum Wrong {
    /// The file ends within its header, after this number of bytes.
    FileHeaderCut(u64),
    /// The first four bytes are no known magic number.
    Magic([u8; 4]),
    /// The version is not 2.4.
    Version([u16; 2]),
    /// The link type is not Ethernet.
    LinkType(u16),
    /// The file ends within a record's header, after this number of bytes.
    RecordHeaderCut(u64),
    /// The file ends within a record, which has the first number of bytes in its header and the second in the file.
    RecordCut(u32, u64),
    /// The record is longer than the frame was on the network.
    LongerThanOriginal(u32, u32),
    /// The frame has the first number of bytes; the peer takes the second.
    TooLong(u32, u32),
    /// The file can't be read.
    Unreadable(FileError),
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.record > 0 {
            write!(f, "record {}, ", self.record)?;
        }
        write!(f, "byte {}: ", self.at)?;
        match &self.what {
            Wrong::FileHeaderCut(have) => write!(f, "truncated: {have} of {FILE_HEADER_LEN} bytes of the file header"),
            Wrong::Magic([a, b, c, d]) => write!(f, "not a pcap file: it starts with {a:02x} {b:02x} {c:02x} {d:02x}"),
            Wrong::Version([major, minor]) => write!(f, "version {major}.{minor}, want 2.4"),
            Wrong::LinkType(number) => write!(f, "link type {number}, want 1 (Ethernet)"),
            Wrong::RecordHeaderCut(have) => {
                write!(f, "truncated: {have} of {RECORD_HEADER_LEN} bytes of a record header")
            }
            Wrong::RecordCut(want, have) => write!(f, "truncated: {have} of {want} bytes of a record"),
            Wrong::LongerThanOriginal(len, original) => write!(f, "{len} bytes captured of a frame of {original}"),
            Wrong::TooLong(len, longest) => {
                write!(f, "a frame of {len} bytes is longer than the peer takes, which is {longest}")
            }
            Wrong::Unreadable(error) => error.fmt(f),
        }
    }
}

/// A capture file whose header is right. As an iterator, it returns the records up to the first that is wrong.
#[derive(Clone, Debug)]
pub struct Capture<S> {
    source: S,
    header: [u8; FILE_HEADER_LEN],
    order: ByteOrder,
    /// The offset and the number of the next record.
    at: u64,
    number: u64,
}

impl<S: Source> Capture<S> {
    /// Checks the header of `source`.
    pub fn open(mut source: S) -> Result<Self, BadFile> {
        let wrong = |at, what| BadFile { record: 0, at, what };
        let (mut header, len) = ([0; FILE_HEADER_LEN], source.len());
        if len < FILE_HEADER_LEN as u64 {
            return Err(wrong(len, Wrong::FileHeaderCut(len)));
        }
        source.read(0, &mut header).map_err(|error| wrong(0, Wrong::Unreadable(error)))?;
        let magic = core::array::from_fn(|i| header[i]);
        let order = ByteOrder::of(&header).ok_or(wrong(0, Wrong::Magic(magic)))?;
        let version = [order.u16(&header, 4), order.u16(&header, 6)];
        // The upper half of the last word tells about frame check sequences, which do not matter here.
        let link_type = order.u32(&header, 20) as u16;
        match (version, link_type) {
            (VERSION, ETHERNET) => Ok(Self { source, header, order, at: FILE_HEADER_LEN as u64, number: 1 }),
            (VERSION, _) => Err(wrong(20, Wrong::LinkType(link_type))),
            _ => Err(wrong(4, Wrong::Version(version))),
        }
    }

    /// Returns the header as it stands in the file.
    pub const fn header(&self) -> &[u8; FILE_HEADER_LEN] {
        &self.header
    }

    /// Goes back to the first record.
    pub const fn rewind(&mut self) {
        (self.at, self.number) = (FILE_HEADER_LEN as u64, 1);
    }

    /// Fills `bytes` with those of `record`'s frame, from its first on.
    pub fn frame(&mut self, record: &Record, bytes: &mut [u8]) -> Result<(), BadFile> {
        let at = record.at + RECORD_HEADER_LEN as u64;
        self.source.read(at, bytes).map_err(|error| record.wrong(at, Wrong::Unreadable(error)))
    }

    /// Reads the record at byte `at`, with `left` bytes from there to the end of the file.
    fn record(&mut self, left: u64) -> Result<Record, BadFile> {
        let (mut record, end) =
            (Record { number: self.number, header: [0; _], len: 0, at: self.at }, self.source.len());
        if left < RECORD_HEADER_LEN as u64 {
            return Err(record.wrong(end, Wrong::RecordHeaderCut(left)));
        }
        self.source
            .read(self.at, &mut record.header)
            .map_err(|error| record.wrong(self.at, Wrong::Unreadable(error)))?;
        record.len = self.order.captured(&record.header);
        let (original, left) = (self.order.u32(&record.header, 12), left - RECORD_HEADER_LEN as u64);
        if record.len > original {
            return Err(record.wrong(self.at + 8, Wrong::LongerThanOriginal(record.len, original)));
        }
        if u64::from(record.len) > left {
            return Err(record.wrong(end, Wrong::RecordCut(record.len, left)));
        }
        Ok(record)
    }
}

impl Record {
    /// Returns the error `what` at byte `at` of the file.
    pub const fn wrong(&self, at: u64, what: Wrong) -> BadFile {
        BadFile { record: self.number, at, what }
    }
}

impl<S: Source> Iterator for Capture<S> {
    type Item = Result<Record, BadFile>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.source.len().checked_sub(self.at).filter(|left| *left > 0)?;
        let record = self.record(left);
        self.at = match &record {
            Ok(record) => record.at + RECORD_HEADER_LEN as u64 + u64::from(record.len),
            Err(_) => self.source.len(),
        };
        self.number += 1;
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

    impl Source for &[u8] {
        fn len(&self) -> u64 {
            <[u8]>::len(self) as u64
        }

        fn read(&mut self, at: u64, bytes: &mut [u8]) -> Result<(), FileError> {
            bytes.copy_from_slice(&self[at as usize..][..bytes.len()]);
            Ok(())
        }
    }

    /// Returns the records of `file`, up to the first that is wrong.
    fn records(file: &[u8]) -> Result<Vec<Record>, BadFile> {
        Capture::open(file)?.collect()
    }

    fn any_file() -> impl Strategy<Value = (Vec<u8>, Vec<Vec<u8>>)> {
        let frames = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8);
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
            let mut capture = Capture::open(&file[..]).unwrap();
            let read = |record: &Record| {
                let mut bytes = vec![0; record.len as usize];
                capture.frame(record, &mut bytes).unwrap();
                bytes
            };
            prop_assert_eq!(records(&file).unwrap().iter().map(read).collect::<Vec<_>>(), frames);
        }

        #[test]
        fn every_cut_is_an_error_that_names_the_end((file, _) in any_file()) {
            let starts = records(&file).unwrap().into_iter().map(|record| record.at);
            let whole: Vec<u64> = starts.chain([file.len() as u64]).collect();
            for cut in 0..file.len() {
                let cut = cut as u64;
                let error = records(&file[..cut as usize]).err();
                let within = whole.iter().position(|at| cut < *at).filter(|_| !whole.contains(&cut));
                prop_assert_eq!(error.map(|e| (e.at, e.record)), within.map(|record| (cut, record as u64)));
            }
        }

        #[test]
        fn bytes_of_any_kind_never_panic(mut file in prop::collection::vec(any::<u8>(), 0..200), good_header: bool) {
            let header = written(&[], false, false);
            if good_header && file.len() >= header.len() {
                file[..header.len()].copy_from_slice(&header);
            }
            let ours = records(&file);
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
            records(&file).unwrap_err().to_string()
        };
        assert_eq!(with(0, &[0x0a, 0x0d, 0x0d, 0x0a]), "byte 0: not a pcap file: it starts with 0a 0d 0d 0a");
        assert_eq!(with(4, &[3]), "byte 4: version 3.4, want 2.4");
        assert_eq!(with(20, &[113]), "byte 20: link type 113, want 1 (Ethernet)");
        assert_eq!(with(32, &[61]), "record 1, byte 32: 61 bytes captured of a frame of 60");
        assert_eq!(with(32, &[70, 0, 0, 0, 70]), "record 1, byte 100: truncated: 60 of 70 bytes of a record");
        let cut = records(&good[..30]).unwrap_err();
        assert_eq!(cut.to_string(), "record 1, byte 30: truncated: 6 of 16 bytes of a record header");
        assert_eq!(records(&good[..5]).unwrap_err().to_string(), "byte 5: truncated: 5 of 24 bytes of the file header");
    }
}
