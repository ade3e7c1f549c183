//! rust-vmm's `virtio-queue`, in the fastest of its ways that we found: an iterator over chains, one slice for each buffer.

use crate::Enqueue;
use crate::arena::{Arena, FRAMES, SIZE, STRIDE};
use anyhow::{Result, anyhow};
use sluice_abi::net::{HDR_LEN, PLAIN_HDR};
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

pub struct VirtioQueue {
    arena: Arena,
    queue: Queue,
    count: usize,
    len: usize,
}

impl VirtioQueue {
    pub fn new() -> Result<Self> {
        let arena = Arena::new()?;
        let mut queue = Queue::new(SIZE as u16)?;
        let at = arena.addresses();
        queue.try_set_desc_table_address(GuestAddress(at.desc.0))?;
        queue.try_set_avail_ring_address(GuestAddress(at.driver.0))?;
        queue.try_set_used_ring_address(GuestAddress(at.device.0))?;
        queue.set_ready(true);
        if !queue.is_valid(&arena.mmap) {
            return Err(anyhow!("virtio-queue refuses the queue"));
        }
        Ok(Self { arena, queue, count: 0, len: 0 })
    }
}

/// One frame into the next chain; its head.
fn one(queue: &mut Queue, memory: &GuestMemoryMmap, frame: u64, len: usize) -> Option<u16> {
    let chain = queue.iter(memory).ok()?.next()?;
    let head = chain.head_index();
    let desc = chain.clone().find(|desc| desc.is_write_only() && desc.len() as usize >= len + HDR_LEN as usize)?;
    let source = memory.get_slice(GuestAddress(frame), len).ok()?;
    let target = memory.get_slice(desc.addr(), len + HDR_LEN as usize).ok()?;
    target.write_slice(&PLAIN_HDR, 0).ok()?;
    source.copy_to_volatile_slice(target.offset(HDR_LEN as usize).ok()?);
    Some(head)
}

impl Enqueue for VirtioQueue {
    fn name(&self) -> &'static str {
        "virtio-queue"
    }

    fn prepare(&mut self, count: u16, len: u16) {
        (self.count, self.len) = (count.into(), len.into());
    }

    #[inline(never)]
    fn enqueue(&mut self) -> usize {
        let memory = &self.arena.mmap;
        for index in 0..self.count {
            let Some(head) = one(&mut self.queue, memory, FRAMES + index as u64 * STRIDE, self.len) else {
                return index;
            };
            if self.queue.add_used(memory, head, self.len as u32 + HDR_LEN).is_err() {
                return index;
            }
        }
        self.count
    }

    fn arena(&mut self) -> &mut Arena {
        &mut self.arena
    }
}
