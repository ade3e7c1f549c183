//! The end of a burst, where frames of a device are added in a row.

use super::Burst;
use crate::frame::Note;
use sluice_abi::PeerIdx;
use sluice_abi::call::Packet;
use zerocopy::transmute;

/// The spare buffers of a burst, which frames that arrive replace. Until [`Tail::finish`] the counters are copies,
/// which the compiler keeps in registers.
pub(crate) struct Tail<'b> {
    /// The spare buffers, one each.
    packets: &'b mut [Packet],
    notes: &'b mut [Note],
    /// The second word of a packet without its length.
    peer: u32,
    added: usize,
    bytes: u64,
    /// Number of frames and of bytes of the burst.
    counts: (&'b mut usize, &'b mut u64),
}

impl Burst<'_> {
    /// Returns the end of the burst, for at most `most` frames and as many as the burst has spare buffers.
    #[inline(always)]
    pub(crate) fn tail(&mut self, most: usize) -> Tail<'_> {
        let Self { packets, notes, len, owned, totals, .. } = self;
        let packets = packets.get_mut(*len..*owned).unwrap_or_default();
        let notes = notes.get_mut(*len..).unwrap_or_default();
        let room = most.min(packets.len()).min(notes.len());
        Tail {
            packets: &mut packets[..room],
            notes: &mut notes[..room],
            peer: second_word(totals.peer.unwrap_or_default()),
            added: 0,
            bytes: 0,
            counts: (len, &mut totals.bytes),
        }
    }

    /// Takes up to `most` buffers from the pool if the burst has no spare one. Returns the number of buffers that were
    /// taken.
    pub(crate) fn stock(&mut self, most: usize) -> usize {
        let (spares, room) = (self.owned - self.len, self.room());
        let most = if spares > 0 { 0 } else { most.min(room) };
        for _ in 0..most {
            let (Some(packet), Some(offset)) = (self.packets.get_mut(self.owned), self.pool.take()) else { break };
            packet.offset = offset;
            self.owned += 1;
        }
        self.owned - self.len - spares
    }
}

impl Tail<'_> {
    /// Returns the number of frames that there are spare buffers for.
    #[inline(always)]
    pub fn room(&self) -> usize {
        self.packets.len()
    }

    /// Adds a frame of `len` bytes, without a header, in a buffer of this burst's pool that the caller owns. Returns an
    /// offset anywhere in a spare buffer, which is the caller's from now on; `None`, and nothing is added, without a
    /// spare buffer.
    #[inline(always)]
    pub fn swap(&mut self, offset: u32, len: u16) -> Option<u32> {
        let (packet, note) = (self.packets.get_mut(self.added)?, self.notes.get_mut(self.added)?);
        let spare = packet.offset;
        // Two words are stored faster than four fields.
        (*packet, *note) = (transmute!([offset, self.peer | u32::from(len)]), Note::PLAIN);
        self.added += 1;
        self.bytes += u64::from(len);
        Some(spare)
    }

    /// Adds the frames to the burst. Returns their length in bytes.
    #[inline(always)]
    pub fn finish(self) -> u64 {
        let (len, bytes) = self.counts;
        *len += self.added;
        *bytes += self.bytes;
        self.bytes
    }
}

const fn second_word(peer: PeerIdx) -> u32 {
    let [_, word]: [u32; 2] = transmute!(Packet::new(0, 0, peer));
    word
}
