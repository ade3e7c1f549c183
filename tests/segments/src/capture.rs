//! A little-endian capture file, frame by frame.

use crate::Failure;
use alloc::vec::Vec;
use alloc::{format, vec};
use sluice_vnf::{Module, Vnf};

/// The number of bytes before the first record, and before the frame of each.
const FILE_HEADER: u64 = 24;
const RECORD_HEADER: u64 = 16;

pub struct Capture {
    file: Module,
    at: u64,
    /// The number of frames so far.
    count: usize,
}

impl Capture {
    pub fn open(vnf: &Vnf, name: &str) -> Result<Self, Failure> {
        let file = vnf.module(name).ok_or_else(|| format!("{name}: no such module"))??;
        Ok(Self { file, at: FILE_HEADER, count: 0 })
    }

    /// Returns the number of frames that were read.
    pub const fn count(&self) -> usize {
        self.count
    }

    pub fn is_at_end(&self) -> bool {
        self.at >= self.file.len()
    }

    /// Returns the next frame, or `None` behind the last.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.is_at_end() {
            return Ok(None);
        }
        let mut len = [0; 4];
        self.file.read(self.at + 8, &mut len)?;
        let mut frame = vec![0; u16::try_from(u32::from_le_bytes(len))?.into()];
        self.file.read(self.at + RECORD_HEADER, &mut frame)?;
        self.at += RECORD_HEADER + frame.len() as u64;
        self.count += 1;
        Ok(Some(frame))
    }

    /// Fails unless the next frame is `arrived`.
    pub fn expect(&mut self, arrived: &[u8]) -> Result<(), Failure> {
        let number = self.count;
        let expected = self.next()?.ok_or("more frames arrived than there are")?;
        let differing = expected.iter().zip(arrived).position(|(expected, arrived)| expected != arrived);
        if differing.is_some() || expected.len() != arrived.len() {
            let lens = [arrived.len(), expected.len()];
            return Err(format!("frame {number} of {lens:?} bytes differs, first at byte {differing:?}").into());
        }
        Ok(())
    }
}
