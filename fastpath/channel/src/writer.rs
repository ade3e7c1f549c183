//! The writer of packets.

use crate::channel::Channel;
use crate::{ChannelError, Fault, WriteError};
use sluice_abi::channel::{ALIGN, Kind, Record, max_len};
use sluice_memory::{Avx, Lanes, OutOfRegion, PeerSlice, SHORT, Words};

/// Least number of bytes that are given up at once, where the ring has 16 times as many: each time costs readers on
/// other processors a cache line.
const STEP: u64 = 4096;

/// The writer of packets. Nobody else may write the channel.
#[derive(Debug)]
pub struct Writer<'m> {
    channel: Channel<'m>,
    /// Position of the next record, and of the first one that is not published.
    next: u64,
    published: u64,
    /// Position of the oldest record.
    oldest: u64,
    /// Number of the next record.
    number: u64,
    avx: Option<Avx>,
}

impl<'m> Writer<'m> {
    /// Opens the channel of packets in `memory`, and goes on behind the last record that is published. The caller makes
    /// sure that there is no other writer.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open(memory: PeerSlice<'m>) -> Result<Self, ChannelError> {
        let channel = Channel::open(memory, Kind::PACKETS)?;
        let published = channel.positions.published();
        let (oldest, mut number) = channel.oldest()?.ok_or(ChannelError::Busy)?;
        let mut at = oldest;
        while at != published {
            let record = channel.record(at, published)?;
            if record.number != number {
                return Err(Fault::Number { at, found: record.number, expected: number }.into());
            }
            at += record.size();
            number = number.wrapping_add((record.kind == Record::DATA).into());
        }
        channel.positions.begin(published);
        Ok(Self { channel, next: published, published, oldest, number, avx: Avx::detect() })
    }

    /// Returns the most bytes that a record may have.
    pub const fn max_len(&self) -> u64 {
        max_len(self.channel.capacity())
    }

    /// Writes and publishes a record.
    ///
    /// # Errors
    /// [`WriteError`].
    #[inline]
    pub fn write(&mut self, record: &[u8]) -> Result<(), WriteError> {
        self.write_burst([record])
    }

    /// Writes records, and publishes them at once; if they take more than half of the ring, some of them before the
    /// others.
    ///
    /// # Errors
    /// [`WriteError`].
    #[inline]
    pub fn write_burst<'r>(&mut self, records: impl IntoIterator<Item = &'r [u8]>) -> Result<(), WriteError> {
        match self.avx {
            Some(avx) => self.burst(records, avx),
            None => self.burst(records, Words),
        }
    }

    #[inline(always)]
    fn burst<'r>(&mut self, records: impl IntoIterator<Item = &'r [u8]>, lanes: impl Lanes) -> Result<(), WriteError> {
        let mut records = records.into_iter().enumerate();
        let written = records.try_for_each(|(index, record)| self.append(index, record, lanes));
        self.publish();
        written
    }

    #[inline(always)]
    fn publish(&mut self) {
        self.published = self.next;
        self.channel.positions.publish(self.next);
    }

    #[inline(always)]
    fn append(&mut self, index: usize, bytes: &[u8], lanes: impl Lanes) -> Result<(), WriteError> {
        let (len, most) = (bytes.len(), self.max_len());
        if len as u64 > most {
            return Err(WriteError::TooLong { index, len, most });
        }
        let record = Record { len: len as u32, kind: Record::DATA, number: self.number };
        let capacity = self.channel.capacity();
        let rest = capacity - self.channel.offset(self.next);
        let padding = if record.size() > rest { rest } else { 0 };
        let end = self.next + padding + record.size();
        if end - self.published > capacity / 2 {
            self.publish();
        }
        if end - self.oldest > capacity {
            self.give_up(end - capacity)?;
        }
        if padding > 0 {
            self.put(Record { len: (padding - ALIGN) as u32, kind: Record::PADDING, ..record }, &[], lanes);
        }
        self.put(record, bytes, lanes);
        self.number = self.number.wrapping_add(1);
        Ok(())
    }

    /// Writes `record` and `bytes` at the next position.
    #[inline(always)]
    fn put(&mut self, record: Record, bytes: &[u8], lanes: impl Lanes) {
        let (ring, at) = (self.channel.ring, self.channel.offset(self.next));
        let word = u64::from(record.kind) << 32 | u64::from(record.len);
        let written: Result<(), OutOfRegion> = ring
            .write_own(at, word)
            .and_then(|()| ring.write_own(at + 8, record.number))
            .and_then(|()| match bytes.len() {
                ..=SHORT => ring.write_short(at + ALIGN, bytes),
                _ => ring.copy_from_slice_through(at + ALIGN, bytes, lanes),
            });
        debug_assert!(written.is_ok());
        self.next += record.size();
    }

    /// Gives up the records before `least`, which is at most half a ring behind what is published, and a few more.
    #[inline(never)]
    fn give_up(&mut self, least: u64) -> Result<(), Fault> {
        let wanted = least + STEP.min(self.channel.capacity() / 16);
        let mut at = self.oldest;
        while at < wanted {
            at += self.channel.record(at, self.published)?.size();
        }
        self.oldest = at;
        self.channel.positions.give_up(at);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
