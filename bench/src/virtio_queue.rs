//! rust-vmm's `virtio-queue`, in the fastest of its ways that we found: an iterator over chains, one slice for each
//! buffer.

use crate::arena::{Arena, SIZE};
use crate::device::{Device, Ring};
use crate::imix;
use crate::slot::region;
use anyhow::{Context, Result, bail};
use sluice_abi::directory::Queue as Vring;
use sluice_abi::net::{HDR_LEN, PLAIN_HDR};
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestRegionMmap, MmapRegion, VolatileMemory,
    VolatileSlice,
};

/// A split queue.
pub struct VirtioQueue {
    memory: GuestMemoryMmap,
    packets: MmapRegion,
    offsets: Vec<u64>,
    queue: Queue,
    count: usize,
    lens: Vec<u16>,
}

impl VirtioQueue {
    /// With the queue `vring` of the driver in `arena`.
    pub fn new(arena: &Arena, vring: Vring) -> Result<Self> {
        let driver = GuestRegionMmap::new(region(arena.memory)?, GuestAddress(0)).context("no memory of a driver")?;
        let memory = GuestMemoryMmap::from_regions(vec![driver])?;
        let mut queue = Queue::new(SIZE)?;
        queue.try_set_desc_table_address(GuestAddress(vring.addresses.desc.0))?;
        queue.try_set_avail_ring_address(GuestAddress(vring.addresses.driver.0))?;
        queue.try_set_used_ring_address(GuestAddress(vring.addresses.device.0))?;
        queue.set_ready(true);
        if !queue.is_valid(&memory) {
            bail!("virtio-queue refuses the queue");
        }
        let offsets = (0..SIZE).map(|index| arena.frame_at(index)).collect();
        Ok(Self { memory, packets: region(arena.packets)?, offsets, queue, count: 0, lens: Vec::new() })
    }
}

/// Puts a frame into the next chain, and returns its head.
fn one(queue: &mut Queue, memory: &GuestMemoryMmap, frame: &VolatileSlice<'_>) -> Option<u16> {
    let chain = queue.iter(memory).ok()?.next()?;
    let (head, len) = (chain.head_index(), frame.len() + HDR_LEN as usize);
    let desc = chain.clone().find(|desc| desc.is_write_only() && desc.len() as usize >= len)?;
    let target = memory.get_slice(desc.addr(), len).ok()?;
    target.write_slice(&PLAIN_HDR, 0).ok()?;
    frame.copy_to_volatile_slice(target.offset(HDR_LEN as usize).ok()?);
    Some(head)
}

impl Device for VirtioQueue {
    fn prepare(&mut self, _: Ring, count: u16, len: u16) -> Result<()> {
        self.count = count.into();
        self.lens = (0..u64::from(count)).map(|index| imix::len(len, index)).collect();
        Ok(())
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        for index in 0..self.count {
            let len = self.lens[index];
            let frame = self.packets.get_slice(self.offsets[index] as usize, len.into()).ok();
            let Some(head) = frame.and_then(|frame| one(&mut self.queue, &self.memory, &frame)) else { return index };
            if self.queue.add_used(&self.memory, head, u32::from(len) + HDR_LEN).is_err() {
                return index;
            }
        }
        self.count
    }
}
