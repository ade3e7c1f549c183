//! The receiver's half: frames in, capture file out.

use crate::announce::{Announcement, MAX_RECORDS};
use crate::format::{ByteOrder, RECORD_HEADER_LEN, RecordHeader};
use core::fmt;

/// A capture file that grows by one frame at a time.
pub struct Assembly<'o> {
    out: &'o mut [u8],
    len: usize,
    order: Option<ByteOrder>,
    announced: [RecordHeader; MAX_RECORDS],
    announced_len: usize,
    announced_used: usize,
    frames: u32,
    finished: bool,
}

/// Why no file comes of what arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An announcement that makes no sense, where so many frames had arrived.
    Malformed(u32),
    /// The frame with this number (from 0) was not announced: one too many, or before the start.
    NotAnnounced(u32),
    /// The frame with this number has the first length; the second was announced.
    Length(u32, usize, u32),
    /// So many frames arrived; the second number was announced.
    Missing(u32, u32),
    /// The file is larger than there is room.
    Full(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(frames) => write!(f, "after frame {frames}: an announcement that makes no sense"),
            Self::NotAnnounced(number) => write!(f, "frame {number}: not announced"),
            Self::Length(number, len, want) => write!(f, "frame {number}: {len} bytes arrived, {want} were sent"),
            Self::Missing(frames, want) => write!(f, "{frames} frames arrived, {want} were sent"),
            Self::Full(room) => write!(f, "the capture is larger than {room} bytes"),
        }
    }
}

impl<'o> Assembly<'o> {
    /// An empty file that may grow to fill `out`.
    pub fn new(out: &'o mut [u8]) -> Self {
        let announced = [[0; RECORD_HEADER_LEN]; MAX_RECORDS];
        Self { out, len: 0, order: None, announced, announced_len: 0, announced_used: 0, frames: 0, finished: false }
    }

    /// Takes what arrived next.
    pub fn take(&mut self, frame: &[u8]) -> Result<(), Fault> {
        match Announcement::read(frame) {
            None => self.frame(frame),
            Some(Ok(Announcement::Start(header))) if self.order.is_none() => {
                self.order = Some(ByteOrder::of(header).ok_or(Fault::Malformed(0))?);
                self.append(header)
            }
            Some(Ok(Announcement::Records(headers))) if self.announced_used == self.announced_len => {
                self.announce(headers);
                Ok(())
            }
            Some(Ok(Announcement::End(total))) => self.end(total),
            Some(_) => Err(Fault::Malformed(self.frames)),
        }
    }

    /// Frames taken so far.
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// The whole file, once the end was announced.
    pub fn file(&self) -> Option<&[u8]> {
        self.finished.then(|| &self.out[..self.len])
    }

    fn announce(&mut self, headers: &[RecordHeader]) {
        self.announced[..headers.len()].copy_from_slice(headers);
        self.announced_len = headers.len();
        self.announced_used = 0;
    }

    fn frame(&mut self, frame: &[u8]) -> Result<(), Fault> {
        let number = self.frames;
        let header = self.announced[..self.announced_len].get(self.announced_used).copied();
        let (Some(order), Some(header)) = (self.order, header) else { return Err(Fault::NotAnnounced(number)) };
        let want = order.captured(&header);
        if frame.len() != want as usize {
            return Err(Fault::Length(number, frame.len(), want));
        }
        self.announced_used += 1;
        self.frames += 1;
        self.append(&header)?;
        self.append(frame)
    }

    fn end(&mut self, total: u32) -> Result<(), Fault> {
        if self.frames != total || self.order.is_none() {
            return Err(Fault::Missing(self.frames, total));
        }
        self.finished = true;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let room = self.out.len();
        let target = self.out.get_mut(self.len..self.len + bytes.len()).ok_or(Fault::Full(room))?;
        target.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
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

    fn announced(announcement: Announcement<'_>) -> Vec<u8> {
        announcement.write(&mut [0; MAX_LEN], [2; 6], [4; 6]).to_vec()
    }

    /// All that the sender puts on the wire for `file`.
    fn wire(file: &[u8], records_at_once: usize) -> Vec<Vec<u8>> {
        let capture = Capture::open(file).unwrap();
        let records: Vec<_> = capture.records().map(Result::unwrap).collect();
        let mut wire = vec![announced(Announcement::Start(capture.header()))];
        for some in records.chunks(records_at_once) {
            let headers: Vec<_> = some.iter().map(|record| *record.header).collect();
            wire.push(announced(Announcement::Records(&headers)));
            wire.extend(some.iter().map(|record| record.frame.to_vec()));
        }
        wire.push(announced(Announcement::End(records.len() as u32)));
        wire
    }

    fn received(wire: &[Vec<u8>], room: usize) -> Result<Option<Vec<u8>>, Fault> {
        let mut out = vec![0; room];
        let mut assembly = Assembly::new(&mut out);
        wire.iter().try_for_each(|frame| assembly.take(frame))?;
        Ok(assembly.file().map(<[u8]>::to_vec))
    }

    proptest! {
        #[test]
        fn the_file_arrives_byte_for_byte(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 0..200),
            at_once in 1..=MAX_RECORDS,
        ) {
            let file = capture(&frames);
            prop_assert_eq!(received(&wire(&file, at_once), file.len()), Ok(Some(file.clone())));
            prop_assert_eq!(received(&wire(&file, at_once), file.len() - 1), Err(Fault::Full(file.len() - 1)));
        }

        #[test]
        fn a_frame_that_is_missing_never_goes_unnoticed(count in 1usize..100, gone: prop::sample::Index, at_once in 1..=MAX_RECORDS) {
            let frames: Vec<_> = (0..count).map(|n| vec![n as u8; 60 + n]).collect();
            let mut wire = wire(&capture(&frames), at_once);
            wire.remove(gone.index(wire.len()));
            prop_assert!(!matches!(received(&wire, 1 << 16), Ok(Some(_))));
        }
    }

    #[test]
    fn each_fault_has_its_line() {
        let start = announced(Announcement::Start(capture(&[]).first_chunk::<FILE_HEADER_LEN>().unwrap()));
        let mut header = [0; RECORD_HEADER_LEN];
        header[8] = 60;
        let records = announced(Announcement::Records(&[header]));
        let line = |wire: &[&Vec<u8>]| {
            let wire: Vec<_> = wire.iter().map(|&frame| frame.clone()).collect();
            received(&wire, 100).unwrap_err().to_string()
        };
        assert_eq!(line(&[&vec![0; 60]]), "frame 0: not announced");
        assert_eq!(line(&[&start, &vec![0; 60]]), "frame 0: not announced");
        assert_eq!(line(&[&start, &records, &vec![0; 61]]), "frame 0: 61 bytes arrived, 60 were sent");
        assert_eq!(line(&[&start, &start]), "after frame 0: an announcement that makes no sense");
        assert_eq!(line(&[&start, &announced(Announcement::End(1))]), "0 frames arrived, 1 were sent");
        let second = line(&[&start, &records, &vec![0; 60], &records, &vec![0; 60]]);
        assert_eq!(second, "the capture is larger than 100 bytes");
    }
}
