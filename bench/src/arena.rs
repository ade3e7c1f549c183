//! The driver's side: memory, a split ring, buffers, and the frames that should arrive.

use anyhow::{Result, anyhow};
use sluice_abi::Gpa;
use sluice_abi::net::{F, HDR_LEN, PLAIN_HDR};
use sluice_abi::virtq::QueueAddresses;
use sluice_driver::DriverQueue;
use sluice_memory::PeerSlice;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Entries of the ring.
pub const SIZE: usize = 256;
/// Bytes from one buffer, or frame to send, to the next.
pub const STRIDE: u64 = 2048;
/// Where the ring is; address 0 is none for some.
const RING: u64 = 0x1_0000;
/// Where the buffers are.
const BUFFERS: u64 = 0x10_0000;
/// Where the frames to send are.
pub const FRAMES: u64 = 0x20_0000;
const LEN: u64 = 0x40_0000;

/// Bursts that are looked at byte by byte.
const CHECKED: usize = 4;

/// What frame `index` begins with.
pub fn frame(index: u64, len: u64) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + index * 31) as u8).collect()
}

/// One driver and its memory, and beside it frames to send.
pub struct Arena {
    /// The memory as rust-vmm sees it. It keeps the mapping.
    pub mmap: GuestMemoryMmap,
    /// The same memory as we see it.
    pub memory: PeerSlice<'static>,
    queue: DriverQueue<SIZE>,
    free: Vec<u32>,
    /// Bursts taken so far.
    checked: usize,
}

impl Arena {
    /// All buffers free, and the frames written.
    #[allow(unsafe_code, reason = "one mapping, two ways to touch it")]
    pub fn new() -> Result<Self> {
        let mmap = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), LEN as usize)])?;
        let base = mmap.get_host_address(GuestAddress(0))?;
        // SAFETY: the mapping is kept for as long as the program runs (forgotten below); nobody makes references into it.
        let memory = unsafe { PeerSlice::from_raw(base, LEN) };
        std::mem::forget(mmap.clone());
        let inside = |what| move |_| anyhow!("{what} is outside");
        let ring = memory.sub(RING, DriverQueue::<SIZE>::MEMORY_LEN).map_err(inside("the ring"))?;
        let queue = DriverQueue::new(Gpa(RING), ring, SIZE as u16, F::VERSION_1).map_err(|_| anyhow!("no queue"))?;
        for index in 0..SIZE as u64 {
            memory.copy_from_slice(FRAMES + index * STRIDE, &frame(index, STRIDE)).map_err(inside("a frame"))?;
        }
        Ok(Self { mmap, memory, queue, free: (0..SIZE as u32).rev().collect(), checked: 0 })
    }

    /// Where the ring is, for a device side.
    pub fn addresses(&self) -> QueueAddresses {
        self.queue.addresses()
    }

    /// Bytes of the mapping.
    pub fn len(&self) -> u64 {
        self.memory.len()
    }

    /// Where the buffer with token `token` is.
    pub fn buffer(token: u32) -> u64 {
        BUFFERS + u64::from(token) * STRIDE
    }

    /// Makes all free buffers available.
    pub fn give_all(&mut self) {
        while let Some(&token) = self.free.last()
            && self.queue.give(Gpa(Self::buffer(token)), STRIDE as u32, token)
        {
            self.free.pop();
        }
        self.queue.publish();
    }

    /// Whether the next burst is looked at byte by byte.
    pub const fn checks(&self) -> bool {
        self.checked < CHECKED
    }

    /// Takes the `count` frames of `len` bytes that were sent. The first bursts are looked at byte by byte.
    pub fn take_all(&mut self, count: u16, len: u16) -> Result<(), String> {
        if self.queue.ready() != Ok(count) {
            return Err(format!("{:?} frames arrived, not {count}", self.queue.ready()));
        }
        for index in 0..u64::from(count) {
            let received = self.queue.take().map_err(|fault| format!("{fault:?}"))?;
            if received.len != u32::from(len) + HDR_LEN {
                return Err(format!("{} bytes arrived, not {len} and a header", received.len));
            }
            self.free.push(received.token);
            if self.checks() && !self.is_frame(received.token, index, len) {
                return Err(format!("frame {index} of {len} bytes did not arrive as it was sent"));
            }
        }
        self.checked += 1;
        Ok(())
    }

    fn is_frame(&self, token: u32, index: u64, len: u16) -> bool {
        let mut arrived = vec![0; HDR_LEN as usize + usize::from(len)];
        self.memory.copy_to_slice(Self::buffer(token), &mut arrived).is_ok()
            && arrived[HDR_LEN as usize..] == frame(index, len.into())
            && arrived[..HDR_LEN as usize] == PLAIN_HDR
    }
}
