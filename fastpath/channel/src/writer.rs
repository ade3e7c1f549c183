//! The writer of packets.

use crate::channel::{Channel, Last};
use crate::{ChannelError, Fault, WriteError};
use core::hint::cold_path;
use sluice_abi::channel::{ALIGN, Kind, Record, max_len};
use sluice_memory::{Avx, Lanes, PeerSlice, SHORT, Words};

/// Least number of bytes that are given up at once, where the ring has 16 times as many: each time costs readers on
/// other processors a cache line.
const STEP: u64 = 8192;

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
    /// What was given up last.
    last: Last,
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
            let (record, _) = channel.record(at, published)?;
            if record.number != number {
                return Err(Fault::Number { at, found: record.number, expected: number }.into());
            }
            at += record.size();
            number = number.wrapping_add((record.kind == Record::DATA).into());
        }
        channel.positions.begin(published);
        let avx = Avx::detect();
        Ok(Self { channel, next: published, published, oldest, number, last: Last::default(), avx })
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
        let (channel, most) = (self.channel, self.max_len());
        // What changes with each record is in registers.
        let (mut next, mut number, mut until) = (self.next, self.number, self.until());
        let mut written = Ok(());
        for (index, bytes) in records.into_iter().enumerate() {
            let len = bytes.len();
            if len as u64 > most {
                written = Err(WriteError::TooLong { index, len, most });
                break;
            }
            let record = Record { len: len as u32, kind: Record::DATA, number };
            if record.size() > until - next {
                cold_path();
                lanes.scrub();
                (self.next, self.number) = (next, number);
                if let Err(fault) = self.make_room(record.size()) {
                    written = Err(fault.into());
                    break;
                }
                (next, until) = (self.next, self.until());
            }
            channel.put(next, record);
            let at = channel.offset(next) + ALIGN;
            let copied = match len {
                ..=SHORT => channel.ring.write_short(at, bytes, lanes),
                _ => channel.ring.copy_from_slice_through(at, bytes, lanes),
            };
            debug_assert!(copied.is_ok());
            (next, number) = (next + record.size(), number.wrapping_add(1));
        }
        lanes.scrub();
        (self.next, self.number) = (next, number);
        self.publish();
        written
    }

    #[inline(always)]
    fn publish(&mut self) {
        self.published = self.next;
        self.channel.positions.publish(self.next);
    }

    /// Returns up to where the writer can write before something must be given up, or published (readers find half a
    /// ring at any time), or the ring ends.
    #[inline(always)]
    fn until(&self) -> u64 {
        let (channel, capacity) = (&self.channel, self.channel.capacity());
        let end = self.next - channel.offset(self.next) + capacity;
        end.min(self.oldest + capacity).min(self.published + capacity / 2)
    }

    /// Makes room for `size` bytes: goes to the start of the ring where they do not fit before its end, publishes what
    /// was written, if it must, and gives up the oldest records, a few more than it must.
    #[inline(never)]
    fn make_room(&mut self, size: u64) -> Result<(), Fault> {
        let capacity = self.channel.capacity();
        let rest = capacity - self.channel.offset(self.next);
        let padding = if size > rest { rest } else { 0 };
        let end = self.next + padding + size;
        if end > self.published + capacity / 2 {
            self.publish();
        }
        if end > self.oldest + capacity {
            self.give_up(end)?;
        }
        if padding > 0 {
            let record = Record { len: (padding - ALIGN) as u32, kind: Record::PADDING, number: self.number };
            self.channel.put(self.next, record);
            self.next += padding;
        }
        Ok(())
    }

    /// Gives up what lies where the ring is written up to `end`, and a few more records.
    fn give_up(&mut self, end: u64) -> Result<(), Fault> {
        let capacity = self.channel.capacity();
        let wanted = end - capacity + STEP.min(capacity / 16);
        let (channel, mut last, mut at) = (self.channel, self.last, self.oldest);
        while at < wanted {
            if !channel.is_like(last, at, |_| true) {
                cold_path();
                last = channel.record(at, self.published)?.1;
            }
            at += last.size;
        }
        (self.last, self.oldest) = (last, at);
        channel.positions.give_up(at);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
