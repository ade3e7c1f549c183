//! A stream of bytes: its writer and its readers.

use crate::channel::{Channel, END};
use crate::{ChannelError, Fault, Lost, ReadError};
use sluice_abi::channel::Kind;
use sluice_memory::PeerSlice;

/// The writer of a stream of bytes. Nobody else may write the channel.
#[derive(Debug)]
pub struct ByteWriter<'m> {
    channel: Channel<'m>,
    /// Position of the next byte, and of the oldest one.
    next: u64,
    oldest: u64,
}

/// A reader of a stream of bytes. It writes nothing into the channel.
#[derive(Debug)]
pub struct ByteReader<'m> {
    channel: Channel<'m>,
    /// Position of the next byte.
    at: u64,
    /// Number of the writer that wrote what was read.
    generation: u64,
}

/// Returns the positions of the oldest byte, and behind the last one.
fn positions(channel: &Channel<'_>) -> Result<(u64, u64), Fault> {
    let oldest = channel.positions.oldest();
    let published = channel.positions.published();
    let is_near = oldest <= published && published - oldest <= channel.capacity();
    // What was given up in between may be further away.
    let is_right = is_near || !channel.positions.is_whole(oldest);
    if is_right && oldest.max(published) < END {
        Ok((oldest, published))
    } else {
        Err(Fault::Positions { at: oldest, oldest, published })
    }
}

impl<'m> ByteWriter<'m> {
    /// Opens the channel of bytes in `memory`, and goes on behind the last byte that is published. The caller makes
    /// sure that there is no other writer.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open(memory: PeerSlice<'m>) -> Result<Self, ChannelError> {
        let channel = Channel::open(memory, Kind::BYTES)?;
        let (oldest, next) = positions(&channel)?;
        channel.positions.begin(next);
        Ok(Self { channel, next, oldest })
    }

    /// Writes `bytes`, and publishes them: a quarter of the ring at a time, if there are more.
    pub fn write(&mut self, bytes: &[u8]) {
        let capacity = self.channel.capacity();
        for piece in bytes.chunks(capacity as usize / 4) {
            let end = self.next.wrapping_add(piece.len() as u64);
            if end.wrapping_sub(self.oldest) > capacity {
                self.oldest = end.wrapping_sub(capacity);
                self.channel.positions.give_up(self.oldest);
            }
            let at = self.channel.offset(self.next);
            let (first, rest) = piece.split_at(piece.len().min((capacity - at) as usize));
            let ring = self.channel.ring;
            let written = ring.copy_from_slice(at, first).and_then(|()| ring.copy_from_slice(0, rest));
            debug_assert!(written.is_ok());
            self.next = end;
            self.channel.positions.publish(end);
        }
    }
}

impl<'m> ByteReader<'m> {
    /// Opens the channel of bytes in `memory`, at the oldest byte that it has.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn open(memory: PeerSlice<'m>) -> Result<Self, ChannelError> {
        let channel = Channel::open(memory, Kind::BYTES)?;
        let generation = channel.positions.newest().0;
        Ok(Self { channel, at: positions(&channel)?.0, generation })
    }

    /// Copies the next bytes into `bytes`, and returns their number: as many as there are, and as fit. 0: there are
    /// none now.
    ///
    /// # Errors
    /// [`ReadError::Overrun`], [`ReadError::NewWriter`], [`ReadError::Fault`].
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<usize, ReadError> {
        let end = match self.channel.end(self.at, &mut self.generation) {
            Err(ReadError::Fault(_)) if !self.channel.positions.is_whole(self.at) => return self.overrun(),
            end => end?,
        };
        let len = end.wrapping_sub(self.at).min(bytes.len() as u64);
        let at = self.channel.offset(self.at);
        let (first, rest) = bytes[..len as usize].split_at_mut(len.min(self.channel.capacity() - at) as usize);
        let ring = self.channel.ring;
        let copied = ring.copy_to_slice(at, first).and_then(|()| ring.copy_to_slice(0, rest));
        debug_assert!(copied.is_ok());
        if !self.channel.positions.is_whole(self.at) {
            return self.overrun();
        }
        self.at = self.at.wrapping_add(len);
        Ok(len as usize)
    }

    /// Goes on with the oldest byte, and says how many were lost.
    #[cold]
    fn overrun(&mut self) -> Result<usize, ReadError> {
        let bytes = positions(&self.channel)?.0.wrapping_sub(self.at);
        self.at = self.at.wrapping_add(bytes);
        Err(ReadError::Overrun(Lost { records: 0, bytes }))
    }
}

#[cfg(test)]
mod tests;
