//! DPDK's virtio driver, over a ring that its vhost library fills: both in this process, by a socket.

use super::Receiver;
use crate::arena::SIZE;
use crate::device::Ring;
use crate::dpdk::{Device, Dpdk, Frames, Port};
use crate::rte_vhost::make_frames;
use anyhow::Result;

/// Frames that its vectorized way takes at once; it takes no fewer.
const AT_ONCE: u16 = 8;
/// The name of that way.
const VECTORIZED: &str = "vectorized";
/// Bursts that are tried with its vectorized way, which gives new buffers at the start of a call only. So no burst may
/// fill more than half of the ring, and with a DPDK that gives 32 buffers a call, such as 22.11, none may be longer.
const TRIED: [u16; 3] = [128, 64, 32];
/// Calls after which a ring has no buffers left whose driver gives fewer than it takes.
const CALLS: u16 = SIZE / AT_ONCE;
/// Bytes of the frames that are sent for a try.
const SHORT: u16 = 64;

/// A port of the driver and the device behind it.
pub struct DpdkVirtio {
    dpdk: Dpdk,
    port: Port,
    device: Device,
    path: String,
    buffer_len: u32,
    frames: Frames,
    /// The longest burst that the driver gives buffers for as fast as it takes frames.
    longest: u16,
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
        let (dpdk, frames) = (dpdk.clone(), Frames::default());
        let mut driver = Self { dpdk, port, device, path, buffer_len, frames, longest: SIZE };
        if driver.path == VECTORIZED {
            driver.longest = 0;
            for burst in TRIED {
                if driver.keeps_up(burst)? {
                    driver.longest = burst;
                    break;
                }
            }
        }
        Ok(driver)
    }

    /// Returns whether the ring does not run out of buffers with bursts of `burst` frames. Afterwards it has all of
    /// them again.
    fn keeps_up(&mut self, burst: u16) -> Result<bool> {
        self.prepare(burst, SHORT)?;
        let keeps_up = (0..CALLS).all(|_| self.passes(burst));
        self.prepare(AT_ONCE, SHORT)?;
        for _ in 0..CALLS {
            self.passes(AT_ONCE);
        }
        Ok(keeps_up)
    }

    /// Returns whether there are buffers for the `burst` frames that were prepared; what arrives is taken and freed.
    fn passes(&mut self, burst: u16) -> bool {
        let filled = self.fill();
        self.take(burst.into());
        self.free();
        filled == usize::from(burst)
    }
}

impl Receiver for DpdkVirtio {
    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn takes(&self, burst: u16) -> bool {
        self.path != VECTORIZED || burst.is_multiple_of(AT_ONCE) && burst <= self.longest
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
