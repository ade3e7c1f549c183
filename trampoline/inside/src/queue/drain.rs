//! Frames that the driver sends, taken out of buffers of any shape.

use super::chain::Chain;
use super::device::DeviceQueue;
use crate::Regions;
use sluice_abi::call::Clause;
use sluice_abi::net::{HDR_LEN, Hdr};
use sluice_memory::{Lanes, OutOfRegion, PeerSlice};
use zerocopy::FromBytes;

/// What came out of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dequeue {
    /// The driver sends nothing, or frames that were taken must be published first.
    Empty,
    /// A frame was taken. Its buffer is the driver's again after [`DeviceQueue::publish`].
    Frame {
        /// The frame's header, which fits the frame and the features.
        hdr: Hdr,
        /// The frame's length in bytes.
        len: u32,
    },
    /// The frame was longer than the room for it. It is gone, as if it had been taken.
    TooLong,
}

impl DeviceQueue {
    /// Takes the next frame that the driver sends into `into`.
    pub fn dequeue(&mut self, regions: &Regions, into: PeerSlice<'_>, lanes: impl Lanes) -> Result<Dequeue, Clause> {
        let Some(mut chain) = self.next_chain()? else { return Ok(Dequeue::Empty) };
        let mut draining = Draining { hdr: [0; _], done: 0, into, lanes };
        let drained = draining.drain(&mut chain, regions);
        lanes.scrub();
        drained?;
        let len = draining.done.checked_sub(HDR_LEN.into()).filter(|&len| len > 0).ok_or(Clause::TooShort)?;
        let hdr = Hdr::read_from_bytes(&draining.hdr).map_err(|_| Clause::Header)?.known();
        let fits = u32::try_from(len).is_ok_and(|len| hdr.fits(len, self.features.offloads_to_device()));
        if !fits {
            return Err(Clause::Header);
        }
        if !self.use_chain(&chain, 0) {
            return Ok(Dequeue::Empty);
        }
        Ok(if len > into.len() { Dequeue::TooLong } else { Dequeue::Frame { hdr, len: len as u32 } })
    }
}

/// Header and frame on their way out of a buffer.
struct Draining<'f, L> {
    hdr: [u8; HDR_LEN as usize],
    into: PeerSlice<'f>,
    /// Bytes of header and frame that were there so far.
    done: u64,
    lanes: L,
}

impl<L: Lanes> Draining<'_, L> {
    fn drain(&mut self, chain: &mut Chain, regions: &Regions) -> Result<(), Clause> {
        while let Some(piece) = chain.next(regions)? {
            // DPDK's driver sets the flag in every entry of such a table, and to read what may be written does no harm.
            if piece.writable && !piece.in_packed_table {
                return Err(Clause::NotReadable);
            }
            self.read(piece.memory(regions)?).map_err(|_| Clause::Region)?;
        }
        Ok(())
    }

    /// Takes the bytes of `buffer`. Those for which there is no room are only counted.
    fn read(&mut self, buffer: PeerSlice<'_>) -> Result<(), OutOfRegion> {
        let mut taken = 0;
        while taken < buffer.len()
            && let Some(byte) = self.hdr.get_mut((self.done + taken) as usize)
        {
            *byte = buffer.read(taken)?;
            taken += 1;
        }
        let at = (self.done + taken).saturating_sub(HDR_LEN.into());
        let len = (buffer.len() - taken).min(self.into.len().saturating_sub(at));
        if len > 0 {
            self.into.copy_from(at, buffer.sub(taken, len)?, self.lanes)?;
        }
        self.done += buffer.len();
        Ok(())
    }
}
