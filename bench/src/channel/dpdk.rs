//! DPDK's `rte_ring`, for one writer and one reader: with the packets as its elements, or with pointers to mbufs that
//! the packets are copied into and out of.

use super::{BURST, Packets, Subject};
use crate::dpdk::{Dpdk, Ring};
use anyhow::{Result, ensure};

/// A ring of the library.
pub struct Theirs {
    dpdk: Dpdk,
    ring: Ring,
    packets: Packets,
}

impl Theirs {
    /// Makes a ring for `count` packets of `frame` bytes: of mbufs, or of elements as long as the packets.
    pub fn new(dpdk: &Dpdk, frame: u16, mbufs: bool, count: u32) -> Result<Self> {
        let ring = dpdk.ring(frame, mbufs, count)?;
        Ok(Self { dpdk: dpdk.clone(), ring, packets: Packets::new(frame, ring.stride()) })
    }
}

impl Subject for Theirs {
    fn burst(&mut self) -> Result<u64> {
        let (dpdk, ring) = (&self.dpdk, self.ring);
        self.packets.carry(|packets| {
            let count = dpdk.copy_through(ring, &packets.from, &mut packets.to)?;
            ensure!(count == BURST, "{count} packets of {BURST} came through");
            Ok(())
        })
    }
}
