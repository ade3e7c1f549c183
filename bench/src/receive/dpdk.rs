//! DPDK's virtio driver, over a ring that its vhost library fills: both in this process, by a socket.

use super::Receiver;
use crate::device::Ring;
use crate::dpdk::{Device, Dpdk, Frames, Port};
use crate::rte_vhost::make_frames;
use anyhow::Result;

/// Frames that its vectorized way takes at once; it takes no fewer.
const AT_ONCE: u16 = 8;
/// Its vectorized way gives new buffers at the start of a call only, so that many of the ring's 256 are never filled at
/// once.
const MOST: u16 = 128;

/// A port of the driver and the device behind it.
pub struct DpdkVirtio {
    dpdk: Dpdk,
    port: Port,
    device: Device,
    path: String,
    buffer_len: u32,
    frames: Frames,
}

impl DpdkVirtio {
    /// With buffers of `buffer_len` bytes.
    pub fn new(dpdk: &Dpdk, ring: Ring, buffer_len: u32) -> Result<Self> {
        let options = match ring {
            Ring::Split => c"mrg_rxbuf=0,in_order=0,vectorized=1",
            Ring::InOrder => c"mrg_rxbuf=0,in_order=1",
            Ring::Packed => c"mrg_rxbuf=0,in_order=0,packed_vq=1,vectorized=1",
        };
        let (port, device, path) = dpdk.open(options, buffer_len)?;
        Ok(Self { dpdk: dpdk.clone(), port, device, path, buffer_len, frames: Frames::default() })
    }
}

impl Receiver for DpdkVirtio {
    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn takes(&self, burst: u16) -> bool {
        self.path != "vectorized" || burst.is_multiple_of(AT_ONCE) && burst <= MOST
    }

    fn prepare(&mut self, count: u16, len: u16) -> Result<()> {
        self.frames = make_frames(&self.dpdk, count, len, self.buffer_len)?;
        Ok(())
    }

    fn fill(&mut self) -> usize {
        self.dpdk.enqueue(self.device, self.frames)
    }

    #[inline(never)]
    fn take(&mut self, most: usize) -> usize {
        self.dpdk.take(self.port, most)
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<()> {
        self.dpdk.read(index, bytes)
    }

    #[inline(never)]
    fn free(&mut self) {
        self.dpdk.free();
    }
}
