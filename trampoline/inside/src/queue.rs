//! One receive queue of a peer, from the device side: split ring. See: VIRTIO 2.7 "Split Virtqueues".

use crate::Regions;
use crate::chain;
use sluice_abi::call::{Clause, Packet};
use sluice_abi::directory::Queue;
use sluice_abi::net::{self, HDR_LEN};
use sluice_abi::virtq::{self, Desc, UsedElem, avail, used};
use sluice_abi::{Gpa, RingIdx};
use sluice_memory::{Cell16, PeerSlice, Rings, Step, Table, Transfer};

/// The device side of a split ring. The driver is the peer; it writes descriptor table and available ring at any time.
///
/// The device uses each buffer as soon as it takes it, so one index counts both: entries taken and entries used.
#[derive(Clone, Copy)]
pub struct DeviceQueue {
    desc: Table<'static, Desc>,
    avail_idx: Cell16<'static>,
    used_idx: Cell16<'static>,
    rings: Rings<'static>,
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
            desc: desc.table(0, size).ok_or(Clause::Layout)?,
            avail_idx: driver.cell16(avail::IDX).ok_or(Clause::Layout)?,
            used_idx: device.cell16(used::IDX).ok_or(Clause::Layout)?,
            rings: driver
                .ring(avail::RING, size)
                .zip(device.ring(used::RING, size))
                .and_then(|(avail, used)| Rings::new(avail, used))
                .ok_or(Clause::Layout)?,
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

    /// Fills the next buffers with packets of `request` from `from` on, while they are for the peer at place `index` and everything is
    /// as usual: how many. `way` leads into the peer's memory, which starts at `first`.
    ///
    /// Usual is a buffer of one descriptor, in the peer's first region, that is long enough, and not beyond the end of the rings' arrays.
    /// What is not usual may still be right: ask again, and if nothing is filled then, the packet is [`DeviceQueue::enqueue`]'s.
    #[inline(never)]
    pub(crate) fn enqueue_usual(
        &mut self,
        request: Table<'static, Packet>,
        from: u16,
        index: u16,
        first: Gpa,
        way: &Transfer<'static>,
    ) -> u16 {
        let Ok(room) = self.available() else { return 0 };
        let steps = self.rings.steps(&request, from, self.next.0, room);
        let way = *way;
        let filled = steps.take_while(|step| self.usual(step, way, first, index)) as u16;
        self.next = self.next.advance(filled);
        filled
    }

    /// The loop that decides what a packet costs; docs/performance.md has its instructions.
    #[inline(always)]
    fn usual(&self, step: Step<'_>, way: Transfer<'_>, first: Gpa, index: u16) -> Option<()> {
        let (offset, len) = step.packet();
        // Too long, too, if the packet is for another peer.
        let frame = way.frame(offset, len.wrapping_sub(u32::from(index) << 16))?;
        let head = step.head();
        // Nobody looks at this entry before it is published.
        step.set_id(u32::from(head));
        step.set_len(frame.total());
        let buffer = self.desc.buffer(head)?;
        if !buffer.is_writable(frame.total()) {
            return None;
        }
        frame.put(buffer.addr().0.wrapping_sub(first.0))
    }

    /// Fills the next buffer, of any shape, with header and `frame`. `max_frame`: longest frame that the driver's buffers must hold.
    ///
    /// Call it at most as often as [`DeviceQueue::available`] said; it doesn't look again.
    pub fn enqueue(&mut self, regions: &Regions, frame: PeerSlice<'_>, max_frame: u32) -> Result<Enqueue, Clause> {
        let head = self.rings.head(self.next.0);
        let done = chain::fill(self, regions, head, frame, max_frame)?;
        if done == Enqueue::Filled {
            self.rings.set_used(self.next.0, UsedElem { id: u32::from(head), len: HDR_LEN + frame.len() as u32 });
            self.next = self.next.advance(1);
        }
        Ok(done)
    }

    /// The descriptor at `index`, read once.
    pub(crate) fn descriptor(&self, index: u16) -> Result<Desc, Clause> {
        self.desc.get(index).ok_or(Clause::DescIndex)
    }

    /// Entries of the ring.
    pub fn size(&self) -> u16 {
        self.desc.size()
    }

    /// Shows the driver everything filled so far, if there is anything new. See: VIRTIO 2.7.8.2 "Device Requirements: The Virtqueue
    /// Used Ring".
    #[inline(always)]
    pub fn publish(&mut self) {
        if self.next != self.published {
            self.used_idx.store_release(self.next.0);
            self.published = self.next;
        }
    }

    /// Forgets what was filled and not published; the buffers will be filled again.
    pub fn rewind(&mut self) {
        self.next = self.published;
    }
}

/// Features that change nothing about the ring or the header.
const HARMLESS: u64 = net::F::MAC.bits() | net::F::MTU.bits() | net::F::STATUS.bits();
