//! One receive queue of a peer, from the device side: split ring. See: VIRTIO 2.7 "Split Virtqueues".

use crate::Regions;
use crate::chain;
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_abi::net::{self, HDR_LEN};
use sluice_abi::virtq::{self, Desc, DescF, UsedElem, avail, used};
use sluice_abi::{Gpa, RingIdx};
use sluice_memory::{Cell16, PeerSlice, Reach, Ring};

/// The virtio-net header before a frame that needs nothing done: all zero but `num_buffers`, 1. See: VIRTIO 5.1.6.4.1
/// "Device Requirements: Processing of Incoming Packets".
pub(crate) const HEADER: [u8; HDR_LEN as usize] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const HEADER_LOW: u64 = 0;
const HEADER_HIGH: u32 = 1 << 16;

/// The device side of a split ring. The driver is the peer; it writes descriptor table and available ring at any time.
///
/// The device uses each buffer as soon as it takes it, so one index counts both: entries taken and entries used.
#[derive(Clone, Copy)]
pub struct DeviceQueue {
    desc: Ring<'static, Desc>,
    avail_idx: Cell16<'static>,
    avail: Ring<'static, u16>,
    used_idx: Cell16<'static>,
    used: Ring<'static, UsedElem>,
    /// Entries filled, published or not.
    next: RingIdx,
    /// What `used.idx` says.
    published: RingIdx,
}

/// What became of a frame that broke no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueue {
    /// In a buffer; seen by the driver after [`DeviceQueue::publish`].
    Filled,
    /// The driver's buffers are as long as they must be, and shorter than this frame.
    TooLong,
}

impl DeviceQueue {
    /// The queue `queue` in `regions`, as the driver leaves it at its start: nothing used.
    pub fn new(queue: &Queue, regions: &Regions) -> Result<Self, Clause> {
        let (size, at) = (queue.size, queue.addresses);
        if size == 0 || size > virtq::MAX_SIZE || queue.features != net::F::VERSION_1.bits() | queue.features & HARMLESS
        {
            return Err(if size == 0 || size > virtq::MAX_SIZE { Clause::Layout } else { Clause::NotNegotiated });
        }
        let area = |at: Gpa, len| regions.find(at, len).map_err(|_| Clause::Layout);
        let desc = area(at.desc, virtq::desc_table_len(size))?;
        let driver = area(at.driver, avail::len(size))?;
        let device = area(at.device, used::len(size))?;
        Ok(Self {
            desc: desc.ring(0, size).ok_or(Clause::Layout)?,
            avail_idx: driver.cell16(avail::IDX).ok_or(Clause::Layout)?,
            avail: driver.ring(avail::RING, size).ok_or(Clause::Layout)?,
            used_idx: device.cell16(used::IDX).ok_or(Clause::Layout)?,
            used: device.ring(used::RING, size).ok_or(Clause::Layout)?,
            next: RingIdx(0),
            published: RingIdx(0),
        })
    }

    /// Buffers that the driver has given and that are not filled.
    #[inline(always)]
    pub fn available(&self) -> Result<u16, Clause> {
        let available = RingIdx(self.avail_idx.load_acquire()).ahead_of(self.next);
        if available > self.desc.size() { Err(Clause::AvailIdx) } else { Ok(available) }
    }

    /// Fills the next buffer with header and `frame`. `buffers`: the reach of the regions' first one. `max_frame`: longest frame that the driver's buffers must hold.
    ///
    /// Call it at most as often as [`DeviceQueue::available`] said; it doesn't look again.
    #[inline(always)]
    pub fn enqueue(
        &mut self,
        regions: &Regions,
        buffers: Reach<'_>,
        frame: PeerSlice<'_>,
        max_frame: u32,
    ) -> Result<Enqueue, Clause> {
        let head = self.avail.get(self.next.0);
        if head >= self.desc.size() {
            return Err(Clause::DescIndex);
        }
        let (addr, len, flags) = self.desc.buffer(head);
        let total = u64::from(HDR_LEN) + frame.len();
        let usual = flags == DescF::WRITE.bits() && u64::from(len) >= total;
        if let Some(buffer) = usual.then(|| buffers.claim(regions.offset_in_first(addr), total)).flatten() {
            fill(buffer, frame).map_err(|_| Clause::Region)?;
        } else if chain::fill(self, regions, head, frame, max_frame)? == Enqueue::TooLong {
            return Ok(Enqueue::TooLong);
        }
        self.used.set(self.next.0, UsedElem { id: u32::from(head), len: total as u32 });
        self.next = self.next.advance(1);
        Ok(Enqueue::Filled)
    }

    /// The descriptor at `index`, read once.
    pub(crate) fn descriptor(&self, index: u16) -> Result<Desc, Clause> {
        if index < self.desc.size() { Ok(self.desc.get(index)) } else { Err(Clause::DescIndex) }
    }

    /// Entries of the ring.
    pub fn size(&self) -> u16 {
        self.desc.size()
    }

    /// Shows the driver everything filled so far. See: VIRTIO 2.7.8.2 "Device Requirements: The Virtqueue Used Ring".
    #[inline(always)]
    pub fn publish(&mut self) {
        self.used_idx.store_release(self.next.0);
        self.published = self.next;
    }

    /// Forgets what was filled and not published; the buffers will be filled again.
    pub fn rewind(&mut self) {
        self.next = self.published;
    }
}

/// Features that change nothing about the ring or the header.
const HARMLESS: u64 = net::F::MAC.bits() | net::F::MTU.bits() | net::F::STATUS.bits();

/// Header and frame into one buffer that has room for both.
#[inline(always)]
fn fill(buffer: PeerSlice<'_>, frame: PeerSlice<'_>) -> Result<(), sluice_memory::OutOfRegion> {
    buffer.write_header(HEADER_LOW, HEADER_HIGH)?;
    buffer.copy_from(u64::from(HDR_LEN), frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_words_are_the_header() {
        assert_eq!(HEADER[..8], HEADER_LOW.to_le_bytes());
        assert_eq!(HEADER[8..], HEADER_HIGH.to_le_bytes());
    }
}
