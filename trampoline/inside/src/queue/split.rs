//! The split format. See: VIRTIO 2.7 "Split Virtqueues".

use super::chain::Chain;
use crate::Regions;
use sluice_abi::call::Clause;
use sluice_abi::directory::Queue;
use sluice_abi::net::F;
use sluice_abi::virtq::{self, Desc, UsedElem, avail, used};
use sluice_abi::{Gpa, RingIdx};
use sluice_memory::{Cell16, PeerSlice, Rings, SplitEvents, Table};

/// A descriptor table, an available ring and a used ring.
#[cfg_attr(test, derive(Clone))]
pub(super) struct Split {
    pub desc: Table<'static, Desc>,
    avail_idx: Cell16<'static>,
    used_idx: Cell16<'static>,
    pub rings: Rings<'static>,
    /// The driver uses descriptors in the order of the table.
    pub in_order: bool,
    indirect: bool,
    /// What the driver asks of the device, and the device of the driver.
    driver: SplitEvents<Cell16<'static>>,
    device: SplitEvents<Cell16<'static>>,
    device_area: Gpa,
    /// Number of entries used, published or not; number of these published; and number of these published when the
    /// driver was last considered for a notification. The counts do not wrap around: the ring's indices are their low
    /// 16 bits.
    next: u64,
    published: u64,
    considered: u64,
}

impl Split {
    pub fn new(queue: &Queue, features: F, regions: &Regions, base: u32) -> Result<Self, Clause> {
        let (size, at) = (queue.size, queue.addresses);
        if size == 0 || size > virtq::MAX_SIZE {
            return Err(Clause::Layout);
        }
        let area = |at: Gpa, len| regions.find(at, len).map_err(|_| Clause::Layout);
        let desc = area(at.desc, virtq::desc_table_len(size))?;
        let driver = area(at.driver, avail::len(size))?;
        let device = area(at.device, used::len(size))?;
        let next = u16::try_from(base).map_err(|_| Clause::Layout)?.into();
        let event_idx = features.contains(F::EVENT_IDX);
        Ok(Self {
            desc: desc.table(0, size).ok_or(Clause::Layout)?,
            avail_idx: cell(driver, avail::IDX)?,
            used_idx: cell(device, used::IDX)?,
            rings: driver
                .ring(avail::RING, size)
                .zip(device.ring(used::RING, size))
                .and_then(|(avail, used)| Rings::new(avail, used))
                .ok_or(Clause::Layout)?,
            in_order: features.contains(F::IN_ORDER),
            indirect: features.contains(F::INDIRECT_DESC),
            driver: events(driver, avail::FLAGS, event_idx.then_some(avail::used_event(size)))?,
            device: events(device, used::FLAGS, event_idx.then_some(used::avail_event(size)))?,
            device_area: at.device,
            next,
            published: next,
            considered: next,
        })
    }

    pub fn base(&self) -> u32 {
        (self.published as u16).into()
    }

    pub fn size(&self) -> u16 {
        self.desc.size()
    }

    /// Returns the index of the next entry, in both rings.
    #[inline(always)]
    pub fn index(&self) -> RingIdx {
        RingIdx(self.next as u16)
    }

    #[inline(always)]
    pub fn available(&self) -> Result<u16, Clause> {
        let available = RingIdx(self.avail_idx.load_acquire()).ahead_of(self.index());
        if available > self.desc.size() { Err(Clause::AvailIdx) } else { Ok(available) }
    }

    pub fn next_buffer(&self) -> Option<Gpa> {
        self.available().ok().filter(|&available| available > 0)?;
        Some(self.desc.buffer(self.rings.head(self.index().0))?.addr())
    }

    /// Uses `count` entries, which were filled, and returns their number.
    #[inline(always)]
    pub fn take(&mut self, count: u16) -> u16 {
        self.next += u64::from(count);
        count
    }

    pub fn next_chain(&self) -> Result<Option<Chain>, Clause> {
        let available = self.available()?;
        // Before it is shown that some are used, the driver has no more of them to give. So one call takes no more than
        // the ring has (rule G10).
        if u64::from(available) + self.pending() > self.size().into() {
            return Err(Clause::AvailIdx);
        }
        if available == 0 {
            return Ok(None);
        }
        Ok(Some(Chain::split(self.desc, self.rings.head(self.index().0), self.indirect)))
    }

    pub fn use_chain(&mut self, chain: &Chain, written: u32) {
        self.rings.set_used(self.index().0, UsedElem { id: chain.id().into(), len: written });
        self.next += 1;
    }

    #[inline(always)]
    pub fn publish(&mut self) {
        if self.next != self.published {
            self.used_idx.store_release(self.next as u16);
            self.published = self.next;
        }
    }

    /// Goes on at the index that is in the used ring. Returns how many entries further on that is.
    pub fn catch_up(&mut self) -> u16 {
        let ahead = RingIdx(self.used_idx.load_acquire()).ahead_of(RingIdx(self.published as u16));
        self.published += u64::from(ahead);
        self.next = self.published;
        ahead
    }

    pub fn pending(&self) -> u64 {
        self.next - self.published
    }

    /// Takes back all but the first `pending` entries that are used and not published.
    pub fn keep(&mut self, pending: u64) {
        self.next = self.published + pending;
    }

    pub fn needs_notification(&mut self) -> bool {
        let count = self.published - core::mem::replace(&mut self.considered, self.published);
        count > 0 && self.driver.wanted(RingIdx(self.published as u16), count)
    }

    /// Returns the address of flags and index of the used ring.
    pub const fn next_used(&self) -> Gpa {
        self.device_area
    }

    pub fn ask_for_notifications(&mut self, on: bool) {
        self.device.ask(on.then_some(self.index()));
    }

    pub fn device_area(&self) -> (Gpa, u64) {
        (self.device_area, used::len(self.size()))
    }
}

fn cell(area: PeerSlice<'static>, at: u64) -> Result<Cell16<'static>, Clause> {
    area.cell16(at).ok_or(Clause::Layout)
}

fn events(area: PeerSlice<'static>, flags: u64, event: Option<u64>) -> Result<SplitEvents<Cell16<'static>>, Clause> {
    Ok(SplitEvents { flags: cell(area, flags)?, event: event.map(|at| cell(area, at)).transpose()? })
}
