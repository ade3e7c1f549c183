//! The reader of packets.

use crate::channel::{Channel, Last};
use crate::{ChannelError, Fault, Lost, ReadError};
use core::hint::cold_path;
use sluice_abi::channel::{ALIGN, Kind, Record};
use sluice_memory::{Avx, Lanes, PeerSlice, SHORT, Words};

/// Number of times that the oldest record is looked for while the writer gives it up again and again.
const LOOKS: usize = 4;
/// Number of times that this is done for a reader that has no place in the ring yet.
const FIRST_LOOKS: usize = 1000;

/// A reader of packets. It writes nothing into the channel.
#[derive(Debug)]
pub struct Reader<'m> {
    channel: Channel<'m>,
    /// Position and number of the record that comes next.
    at: u64,
    number: u64,
    /// Number of the writer that wrote what was read.
    generation: u64,
    /// What was read last.
    last: Last,
    avx: Option<Avx>,
}

impl<'m> Reader<'m> {
    /// Opens the channel of packets in `memory`, at the oldest record that it has.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open(memory: PeerSlice<'m>) -> Result<Self, ChannelError> {
        let channel = Channel::open(memory, Kind::PACKETS)?;
        // Whoever wrote what is there already is not another one for this reader.
        let generation = channel.positions.newest().0;
        for _ in 0..FIRST_LOOKS {
            if let Some((at, number)) = channel.oldest()? {
                return Ok(Self { channel, at, number, generation, last: Last::default(), avx: Avx::detect() });
            }
        }
        Err(ChannelError::Busy)
    }

    /// Copies the next record into `bytes`, and returns its length; `None` if there is none now.
    ///
    /// # Errors
    /// [`ReadError`].
    #[inline]
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<Option<usize>, ReadError> {
        let mut lens = [0];
        Ok(match self.read_burst(bytes, &mut lens)? {
            0 => None,
            _ => Some(lens[0]),
        })
    }

    /// Copies the next records into `bytes`, one behind the other, and the length of each into `lens`. Returns their
    /// number: as many as there are, and as fit into both.
    ///
    /// # Errors
    /// [`ReadError`]. With [`ReadError::Overrun`] records of this burst may be among the lost ones, and what is in
    /// `bytes` has no meaning.
    #[inline]
    pub fn read_burst(&mut self, bytes: &mut [u8], lens: &mut [usize]) -> Result<usize, ReadError> {
        match self.attempt(bytes, lens) {
            // Padding was given up, and no record.
            Err(ReadError::Overrun(Lost { records: 0, .. })) => self.attempt(bytes, lens),
            read => read,
        }
    }

    #[inline(always)]
    fn attempt(&mut self, bytes: &mut [u8], lens: &mut [usize]) -> Result<usize, ReadError> {
        match self.avx {
            Some(avx) => self.burst(bytes, lens, avx),
            None => self.burst(bytes, lens, Words),
        }
    }

    #[inline(always)]
    fn burst(&mut self, bytes: &mut [u8], lens: &mut [usize], lanes: impl Lanes) -> Result<usize, ReadError> {
        let end = match self.channel.end(self.at, &mut self.generation) {
            Err(ReadError::Fault(fault)) => return self.explain(fault.into()),
            end => end?,
        };
        let (channel, mut last, mut at, mut number) = (self.channel, self.last, self.at, self.number);
        let (mut records, room, mut rest) = (0, bytes.len(), bytes);
        for place in lens {
            if last.size > end - at || !channel.is_like(last, at, |found| found == number) {
                cold_path();
                match next(&channel, at, end, number) {
                    Ok((place, Some(found))) => (at, last) = (place, found),
                    Ok((place, None)) => {
                        at = place;
                        break;
                    }
                    // It is the first one of the next burst.
                    Err(_) if records > 0 => break,
                    Err(fault) => return self.explain(fault.into()),
                }
            }
            let len = last.len() as usize;
            let Some((into, behind)) = core::mem::take(&mut rest).split_at_mut_checked(len) else {
                cold_path();
                if records > 0 {
                    break;
                }
                return self.explain(ReadError::Buffer { needed: len, len: room });
            };
            if !take(channel.ring, channel.offset(at) + ALIGN, into, lanes) {
                cold_path();
                return self.explain(Fault::Record { at, kind: Record::DATA, len: last.len() }.into());
            }
            *place = len;
            (records, rest, number) = (records + 1, behind, number.wrapping_add(1));
            at += last.size;
        }
        lanes.scrub();
        if at != self.at && !channel.positions.is_whole(self.at) {
            return self.overrun();
        }
        (self.last, self.at, self.number) = (last, at, number);
        Ok(records)
    }

    /// Returns what `error` is: nonsense, or what a reader sees of memory that is overwritten.
    #[cold]
    fn explain(&mut self, error: ReadError) -> Result<usize, ReadError> {
        if self.channel.positions.is_whole(self.at) { Err(error) } else { self.overrun() }
    }

    /// Goes on with the oldest record, and says how much was lost.
    #[cold]
    fn overrun(&mut self) -> Result<usize, ReadError> {
        for _ in 0..LOOKS {
            if let Some((at, number)) = self.channel.oldest()? {
                let bytes = at.wrapping_sub(self.at);
                let records = number.wrapping_sub(self.number);
                // Each record takes bytes.
                if records > bytes / ALIGN || at < self.at {
                    return Err(Fault::Number { at, found: number, expected: self.number }.into());
                }
                (self.at, self.number) = (at, number);
                return Err(ReadError::Overrun(Lost { records, bytes }));
            }
        }
        // It is overrun still, and the next call says so.
        Ok(0)
    }
}

/// Returns where the next record is from `at` on, where there may be padding, and what it is like; `None` at `end`. It
/// ends at `end` or before, and has the number `expected`.
#[inline(never)]
fn next(channel: &Channel<'_>, mut at: u64, end: u64, expected: u64) -> Result<(u64, Option<Last>), Fault> {
    while at != end {
        let (record, last) = channel.record(at, end)?;
        if record.number != expected {
            return Err(Fault::Number { at, found: record.number, expected });
        }
        if record.kind == Record::DATA {
            return Ok((at, Some(last)));
        }
        at += last.size;
    }
    Ok((at, None))
}

/// Copies what is at offset `from` of the ring into all of `into`. Returns whether the ring has as much.
#[inline(always)]
fn take(ring: PeerSlice<'_>, from: u64, into: &mut [u8], lanes: impl Lanes) -> bool {
    let copied = match into.len() {
        ..=SHORT => ring.read_short(from, into, lanes),
        len => ring.sub(from, len as u64).and_then(|from| PeerSlice::from_mut(into).copy_from(0, from, lanes)),
    };
    copied.is_ok()
}

#[cfg(test)]
mod tests;
