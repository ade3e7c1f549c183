//! Frames out of buffers: a header that is checked, and one or several buffers of bytes.
//! See: VIRTIO 5.1.6.4 "Processing of Incoming Packets".

use crate::{DeviceFault, DriverQueue, Token};
use core::mem::offset_of;
use sluice_abi::net::{F, HDR_LEN, Hdr, HdrF, Offloads, gso};
use sluice_memory::PeerSlice;

/// The bytes of a frame within one buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part<T = u32> {
    /// Token of the buffer.
    pub token: T,
    /// Offset of the bytes in the buffer: behind the header in the first buffer of a frame, else 0.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// A frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrivedFrame {
    /// Header of the frame. It fits the frame and asks for nothing that was not agreed on.
    pub hdr: Hdr,
    /// Number of parts.
    pub parts: usize,
    /// Number of bytes of all parts.
    pub len: u32,
}

/// The result of a look for a frame. Buffers that came back are the caller's again in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// No frame is there.
    Nothing,
    /// A frame arrived.
    Frame(ArrivedFrame),
    /// This number of buffers came back without a frame: the header does not fit, there are no bytes, or more parts
    /// than there is room for.
    Dropped(usize),
}

/// The part of a driver that puts frames together.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    merges: bool,
    offloads: Offloads,
    /// Number of frames that were dropped so far.
    dropped: u64,
}

impl Receiver {
    /// Returns a receiver for a queue with these features.
    pub const fn new(features: F) -> Self {
        Self { merges: features.contains(F::MRG_RXBUF), offloads: features.offloads_to_driver(), dropped: 0 }
    }

    /// Returns the number of frames that were dropped.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes the next frame of `queue` into `parts`, which has as many entries as the queue. `memory` finds the buffer
    /// of a token. Of a frame with more parts than `parts` has entries, all buffers are taken but only the first are
    /// named.
    ///
    /// # Errors
    /// [`DeviceFault`], now and from now on.
    #[inline]
    pub fn take<'m, const N: usize, T: Token>(
        &mut self,
        queue: &mut DriverQueue<N, T>,
        memory: impl FnOnce(T) -> Option<PeerSlice<'m>>,
        parts: &mut [Part<T>],
    ) -> Result<Arrival, DeviceFault> {
        if parts.is_empty() || !queue.is_ready()? {
            return Ok(Arrival::Nothing);
        }
        let first = queue.take()?;
        parts[0] = Part { token: first.token, start: HDR_LEN, len: first.len.saturating_sub(HDR_LEN) };
        let hdr = memory(first.token).filter(|_| first.len >= HDR_LEN).and_then(header).map(Hdr::known);
        let count = match hdr {
            Some(hdr) if self.merges => usize::from(hdr.num_buffers),
            Some(_) => 1,
            None => 0,
        };
        let len = self.rest(queue, count, parts)?;
        let frame = hdr.filter(|hdr| count > 0 && count <= parts.len() && len > 0 && hdr.fits(len, self.offloads));
        Ok(match frame {
            Some(hdr) => Arrival::Frame(ArrivedFrame { hdr, parts: count, len }),
            None => self.drop(count.max(1).min(parts.len())),
        })
    }

    /// Takes the other buffers of a frame of `count` buffers, and returns the number of bytes of all. They were used
    /// together, so all are there.
    fn rest<const N: usize, T: Token>(
        &self,
        queue: &mut DriverQueue<N, T>,
        count: usize,
        parts: &mut [Part<T>],
    ) -> Result<u32, DeviceFault> {
        let mut len = parts[0].len;
        for at in 1..count {
            if !queue.is_ready()? {
                return Err(queue.blame(DeviceFault::NumBuffers));
            }
            let received = queue.take()?;
            len = len.saturating_add(received.len);
            if let Some(part) = parts.get_mut(at) {
                *part = Part { token: received.token, start: 0, len: received.len };
            }
        }
        Ok(len)
    }

    fn drop(&mut self, parts: usize) -> Arrival {
        self.dropped += 1;
        Arrival::Dropped(parts)
    }
}

/// Returns whether the header at `at` of `memory` leaves no work to its receiver and tells nothing of the checksum, so
/// that it need not be kept.
#[inline(always)]
pub fn asks_nothing(memory: PeerSlice<'_>, at: u64) -> bool {
    const KNOWN: u16 = HdrF::NEEDS_CSUM.union(HdrF::DATA_VALID).bits() as u16;
    const _: () = assert!(offset_of!(Hdr, flags) == 0 && offset_of!(Hdr, gso_type) == 1 && gso::NONE == 0);
    memory.read_own::<u16>(at).is_ok_and(|flags_and_type| flags_and_type & (KNOWN | 0xff00) == 0)
}

/// Returns the header at the start of `buffer`, read once.
#[inline(always)]
fn header(buffer: PeerSlice<'_>) -> Option<Hdr> {
    let words: [u64; 1] = [buffer.read(0).ok()?];
    let [low, high]: [u32; 2] = zerocopy::transmute!(words);
    let last: u32 = buffer.read(8).ok()?;
    Some(zerocopy::transmute!([low, high, last]))
}

#[cfg(test)]
mod tests;
