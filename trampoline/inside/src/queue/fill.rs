//! Frames put into buffers of any shape, and into several of them. The drivers we know need this rarely, so this code
//! is kept out of the way of the common case.

use super::chain::Chain;
use super::device::DeviceQueue;
use super::log::DirtyLog;
use crate::Regions;
use core::mem::offset_of;
use sluice_abi::call::Clause;
use sluice_abi::net::{HDR_LEN, Hdr};
use sluice_abi::virtq::MAX_CHAIN;
use sluice_memory::{Lanes, OutOfRegion, PeerSlice};
use zerocopy::IntoBytes;

/// What became of a frame, where neither side broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueue {
    /// The frame is in a buffer, or several. The driver sees it after [`DeviceQueue::publish`].
    Filled,
    /// The driver has not given enough buffers, or some that were filled must be published first. Nothing is filled.
    Full,
    /// The driver's buffers are as long as they must be, and yet all of them together are shorter than this frame.
    /// Nothing is filled.
    TooLong,
    /// The header does not fit the frame, or leaves to the driver what was not negotiated. Nothing is filled.
    BadHeader,
}

impl DeviceQueue {
    /// Fills the next buffer, or buffers, of any shape with `hdr` and `frame`. `min_buffer` is the longest frame, in
    /// bytes, that one of the driver's buffers must hold if buffers are not merged.
    #[cold]
    #[inline(never)]
    pub fn enqueue(
        &mut self,
        regions: &Regions,
        hdr: &Hdr,
        frame: PeerSlice<'_>,
        min_buffer: u32,
        lanes: impl Lanes,
    ) -> Result<Enqueue, Clause> {
        if !hdr.fits(u32::try_from(frame.len()).unwrap_or(0), self.features.offloads_to_driver()) {
            return Ok(Enqueue::BadHeader);
        }
        let before = self.pending();
        let mut filling = Filling::new(hdr, frame, self.log(), lanes);
        let done = filling.fill(self, regions, min_buffer);
        lanes.scrub();
        if done != Ok(Enqueue::Filled) {
            self.keep(before);
        }
        done
    }
}

/// Header and frame on their way into buffers.
struct Filling<'f, L> {
    hdr: Hdr,
    frame: PeerSlice<'f>,
    /// Bytes of header and frame that are written.
    done: u64,
    /// Descriptors that may still be followed for this frame, whatever the number of buffers (rule G10).
    left: u16,
    /// Places that the two bytes of `num_buffers` were written to.
    num_buffers: [Option<PeerSlice<'static>>; 2],
    log: Option<DirtyLog>,
    lanes: L,
}

impl<'f, L: Lanes> Filling<'f, L> {
    fn new(hdr: &Hdr, frame: PeerSlice<'f>, log: Option<DirtyLog>, lanes: L) -> Self {
        let hdr = Hdr { num_buffers: 1, ..*hdr };
        Self { hdr, frame, done: 0, left: MAX_CHAIN, num_buffers: [None; 2], log, lanes }
    }

    const fn total(&self) -> u64 {
        HDR_LEN as u64 + self.frame.len()
    }

    fn fill(&mut self, queue: &mut DeviceQueue, regions: &Regions, min_buffer: u32) -> Result<Enqueue, Clause> {
        let (mut buffers, mut slots) = (0, 0);
        loop {
            let Some(mut chain) = queue.next_chain()? else {
                // The driver has no more to give before it gets these back.
                return Ok(if slots < queue.size() { Enqueue::Full } else { Enqueue::TooLong });
            };
            let Some(written) = self.fill_chain(&mut chain, regions)? else { return Ok(Enqueue::TooLong) };
            slots += chain.slots();
            if !queue.use_chain(&chain, written) {
                return Ok(Enqueue::Full);
            }
            buffers += 1;
            if self.done == self.total() {
                self.set_num_buffers(buffers).map_err(|_| Clause::Region)?;
                return Ok(Enqueue::Filled);
            }
            if !queue.merges() {
                return too_short(written, min_buffer);
            }
            if written < HDR_LEN {
                return Err(Clause::TooShort);
            }
        }
    }

    /// Fills `chain` as far as it goes and returns the number of bytes written, or `None` if the frame takes more
    /// descriptors than are followed for one.
    fn fill_chain(&mut self, chain: &mut Chain, regions: &Regions) -> Result<Option<u32>, Clause> {
        let before = self.done;
        while self.done < self.total()
            && let Some(piece) = chain.next(regions)?
        {
            let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
            self.left = left;
            if !piece.writable {
                return Err(Clause::NotWritable);
            }
            let written = self.write(piece.memory(regions)?).map_err(|_| Clause::Region)?;
            self.done += written;
            if let Some(log) = &self.log {
                log.mark(piece.at, written);
            }
        }
        chain.finish()?;
        Ok(Some((self.done - before) as u32))
    }

    /// Writes the next bytes into `buffer` and returns their number.
    fn write(&mut self, buffer: PeerSlice<'static>) -> Result<u64, OutOfRegion> {
        let mut written = 0;
        while written < buffer.len()
            && let Some(&byte) = self.hdr.as_bytes().get((self.done + written) as usize)
        {
            buffer.write(written, byte)?;
            self.note_num_buffers(buffer.sub(written, 1)?, (self.done + written) as usize);
            written += 1;
        }
        if written == buffer.len() {
            return Ok(written);
        }
        let from = self.done + written - u64::from(HDR_LEN);
        let len = (self.frame.len() - from).min(buffer.len() - written);
        buffer.copy_from(written, self.frame.sub(from, len)?, self.lanes)?;
        Ok(written + len)
    }

    fn note_num_buffers(&mut self, place: PeerSlice<'static>, at: usize) {
        let byte = at.checked_sub(offset_of!(Hdr, num_buffers));
        if let Some(noted) = byte.and_then(|byte| self.num_buffers.get_mut(byte)) {
            *noted = Some(place);
        }
    }

    /// Writes how many buffers the frame fills. See: VIRTIO 5.1.6.4.1 "Device Requirements: Processing of Incoming
    /// Packets".
    fn set_num_buffers(&mut self, buffers: u16) -> Result<(), OutOfRegion> {
        if buffers == 1 {
            return Ok(());
        }
        self.num_buffers.iter().flatten().zip(buffers.to_le_bytes()).try_for_each(|(place, byte)| place.write(0, byte))
    }
}

/// Decides whose fault it is that a chain of `capacity` bytes was too short. See: VIRTIO 5.1.6.3.1 "Driver
/// Requirements: Setting Up Receive Buffers".
fn too_short(capacity: u32, min_buffer: u32) -> Result<Enqueue, Clause> {
    if capacity >= HDR_LEN + min_buffer { Ok(Enqueue::TooLong) } else { Err(Clause::TooShort) }
}
