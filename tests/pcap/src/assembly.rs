//! The receiver's half: frames in, capture file out.

use crate::announce::{Announcement, MAX_RECORDS, What};
use crate::format::{ByteOrder, RECORD_HEADER_LEN, RecordHeader};
use core::fmt;
use sluice_vnf::{FileError, Output};

/// Where the file is written.
pub trait Sink {
    /// Writes `bytes` behind those that were written before.
    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError>;
}

impl Sink for Output {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.write(bytes)
    }
}

/// A capture file that grows by one frame at a time.
pub struct Assembly<O> {
    out: O,
    order: Option<ByteOrder>,
    announced: [RecordHeader; MAX_RECORDS],
    announced_len: usize,
    announced_used: usize,
    records: u64,
    finished: bool,
}

/// Why the frames make no file.
#[derive(Debug)]
pub enum Fault {
    /// Behind this number of records came a frame that does not announce what can come there.
    NotAnnounced(u64),
    /// The frame of this record (from 1) has the first length. The second was announced.
    Length(u64, usize, u32),
    /// The first number of records arrived. The second was sent.
    Missing(u64, u64),
    /// A frame could not be read.
    Unreadable(u64),
    /// The file can't be written.
    Output(FileError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnnounced(records) => {
                write!(
                    f,
                    "behind record {records}: a frame that says neither which records follow nor that this is all"
                )
            }
            Self::Length(number, len, want) => write!(f, "record {number}: {len} bytes arrived, {want} were sent"),
            Self::Missing(records, want) => write!(f, "{records} records arrived, {want} were sent"),
            Self::Unreadable(records) => write!(f, "behind record {records}: a frame outside packet memory"),
            Self::Output(error) => error.fmt(f),
        }
    }
}

impl<O: Sink> Assembly<O> {
    /// Returns an empty file that grows in `out`.
    pub const fn new(out: O) -> Self {
        let announced = [[0; RECORD_HEADER_LEN]; MAX_RECORDS];
        Self { out, order: None, announced, announced_len: 0, announced_used: 0, records: 0, finished: false }
    }

    /// Takes the frame that arrived next.
    pub fn take(&mut self, frame: &[u8]) -> Result<(), Fault> {
        if let (Some(order), Some(header)) = (self.order, self.next()) {
            self.frame(order, &header, frame)?;
        } else {
            self.announcement(frame)?;
        }
        self.take_empty()
    }

    /// Returns the number of records taken so far.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Returns whether the end was announced.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Returns where the file was written.
    pub fn into_output(self) -> O {
        self.out
    }

    /// Returns the header of the record that comes next, if it was announced.
    fn next(&self) -> Option<RecordHeader> {
        self.announced[..self.announced_len].get(self.announced_used).copied()
    }

    fn announcement(&mut self, frame: &[u8]) -> Result<(), Fault> {
        let unexpected = Fault::NotAnnounced(self.records);
        let Some(Announcement { what, before }) = Announcement::read(frame) else { return Err(unexpected) };
        if before != self.records {
            return Err(Fault::Missing(self.records, before));
        }
        match (what, self.order) {
            (What::Start(header), None) => {
                self.order = Some(ByteOrder::of(header).ok_or(unexpected)?);
                self.write(header)?;
            }
            (What::Records(headers), Some(_)) => {
                self.announced[..headers.len()].copy_from_slice(headers);
                (self.announced_len, self.announced_used) = (headers.len(), 0);
            }
            (What::End, Some(_)) => self.finished = true,
            _ => return Err(unexpected),
        }
        Ok(())
    }

    fn frame(&mut self, order: ByteOrder, header: &RecordHeader, frame: &[u8]) -> Result<(), Fault> {
        let want = order.captured(header);
        if frame.len() != want as usize {
            return Err(Fault::Length(self.records + 1, frame.len(), want));
        }
        self.announced_used += 1;
        self.records += 1;
        self.write(header)?;
        self.write(frame)
    }

    /// Takes records without bytes, for which no frame comes.
    fn take_empty(&mut self) -> Result<(), Fault> {
        while let (Some(order), Some(header)) = (self.order, self.next())
            && order.captured(&header) == 0
        {
            self.frame(order, &header, &[])?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.out.write(bytes).map_err(Fault::Output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::MAX_LEN;
    use crate::format::{Capture, FILE_HEADER_LEN};
    use pcap_file::pcap::{PcapPacket, PcapWriter};
    use proptest::prelude::*;
    use std::time::Duration;

    fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        for (number, frame) in frames.iter().enumerate() {
            let packet = PcapPacket::new(Duration::from_micros(number as u64 * 777_777), frame.len() as u32 + 4, frame);
            writer.write_packet(&packet).unwrap();
        }
        writer.into_writer()
    }

    impl Sink for Vec<u8> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
            self.extend_from_slice(bytes);
            Ok(())
        }
    }

    fn announced(what: What<'_>, before: u64) -> Vec<u8> {
        Announcement { what, before }.write(&mut [0; MAX_LEN], [2; 6], [4; 6]).to_vec()
    }

    /// Returns all frames that the sender puts on the wire for `file`.
    fn wire(file: &[u8], records_at_once: usize) -> Vec<Vec<u8>> {
        let mut capture = Capture::open(file).unwrap();
        let records: Vec<_> = capture.by_ref().map(Result::unwrap).collect();
        let mut wire = vec![announced(What::Start(capture.header()), 0)];
        for some in records.chunks(records_at_once) {
            let headers: Vec<_> = some.iter().map(|record| record.header).collect();
            wire.push(announced(What::Records(&headers), some[0].number - 1));
            for record in some.iter().filter(|record| record.len > 0) {
                let mut bytes = vec![0; record.len as usize];
                capture.frame(record, &mut bytes).unwrap();
                wire.push(bytes);
            }
        }
        wire.push(announced(What::End, records.len() as u64));
        wire
    }

    /// Returns the file, if it is whole.
    fn received(wire: &[Vec<u8>]) -> Result<Option<Vec<u8>>, String> {
        let mut assembly = Assembly::new(Vec::new());
        wire.iter().try_for_each(|frame| assembly.take(frame)).map_err(|fault| fault.to_string())?;
        Ok(assembly.is_finished().then(|| assembly.into_output()))
    }

    proptest! {
        #[test]
        fn the_file_arrives_byte_for_byte(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..200),
            at_once in 1..=MAX_RECORDS,
        ) {
            let file = capture(&frames);
            prop_assert_eq!(received(&wire(&file, at_once)), Ok(Some(file)));
        }

        #[test]
        fn a_frame_that_is_missing_never_goes_unnoticed(
            count in 1usize..100,
            gone: prop::sample::Index,
            at_once in 1..=MAX_RECORDS,
        ) {
            let frames: Vec<_> = (0..count).map(|n| vec![n as u8; 60 + n]).collect();
            let mut wire = wire(&capture(&frames), at_once);
            wire.remove(gone.index(wire.len()));
            prop_assert!(!matches!(received(&wire), Ok(Some(_))));
        }
    }

    /// The hardest case is a capture of such a transfer: each announcement in it is an ordinary frame.
    #[test]
    fn a_capture_may_hold_announcements() {
        for at_once in [1, 2, MAX_RECORDS] {
            let mut file = capture(&[vec![], vec![1; 60], vec![2; 60]]);
            for _ in 0..3 {
                file = capture(&wire(&file, at_once));
                assert_eq!(received(&wire(&file, at_once)), Ok(Some(file.clone())));
            }
        }
    }

    #[test]
    fn each_fault_has_its_line() {
        let file = capture(&[]);
        let start = announced(What::Start(file.first_chunk::<FILE_HEADER_LEN>().unwrap()), 0);
        let mut header = [0; RECORD_HEADER_LEN];
        header[8] = 60;
        let records = announced(What::Records(&[header]), 0);
        let line =
            |wire: &[&Vec<u8>]| received(&wire.iter().map(|&frame| frame.clone()).collect::<Vec<_>>()).unwrap_err();
        let neither = "a frame that says neither which records follow nor that this is all";
        assert_eq!(line(&[&vec![0; 60]]), format!("behind record 0: {neither}"));
        assert_eq!(line(&[&records]), format!("behind record 0: {neither}"));
        assert_eq!(line(&[&start, &vec![0; 60]]), format!("behind record 0: {neither}"));
        assert_eq!(line(&[&start, &records, &vec![0; 61]]), "record 1: 61 bytes arrived, 60 were sent");
        assert_eq!(line(&[&start, &start]), format!("behind record 0: {neither}"));
        assert_eq!(line(&[&start, &announced(What::End, 1)]), "0 records arrived, 1 were sent");
        assert_eq!(line(&[&start, &records, &vec![0; 60], &records]), "1 records arrived, 0 were sent");
    }
}
