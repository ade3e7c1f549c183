//! Ours: `VirtioNet`, over a ring that our window code, built for this processor, fills.

use super::Receiver;
use super::transport::Registers;
use crate::arena::{Arena, SIZE};
use crate::device::{Device, Ring};
use crate::sluice_native::SluiceNative;
use anyhow::{Context, Result, anyhow};
use sluice::{BufferLen, Burst, Mempool, Options, PacketMemory, Receive, RingFormat, VirtioNet};

/// Buffers of the pool: the queue's, and as many for frames.
const BUFFERS: usize = 2 * SIZE as usize;

/// A driver and its device.
pub struct Sluice {
    ring: Ring,
    net: VirtioNet<'static, Registers>,
    burst: Burst<'static>,
    device: SluiceNative,
}

impl Sluice {
    /// With buffers of `buffer_len` bytes, for frames of at most `longest`.
    pub fn new(ring: Ring, buffer_len: u32, longest: u16) -> Result<Self> {
        let buffer_len = BufferLen::ALL.into_iter().find(|len| len.bytes() == buffer_len).context("no such buffers")?;
        let queues = VirtioNet::QUEUE_LEN.next_multiple_of(buffer_len.bytes());
        let arena = Arena::with_more(buffer_len.bytes(), queues + BUFFERS as u32 * buffer_len.bytes())?;
        let (gpa, more) = arena.more()?;
        let all = PacketMemory::new(gpa, more).context("4 GiB of buffers")?;
        let (queues, buffers) = all.split_at(queues).context("no room for queues")?;
        let pool = Mempool::new(buffers, buffer_len, vec![0; BUFFERS].leak())?;
        let pool: &'static Mempool<'static> = Box::leak(Box::new(pool));
        let format = match ring {
            Ring::Split => RingFormat::Split,
            Ring::InOrder => RingFormat::InOrder,
            Ring::Packed => RingFormat::Packed,
        };
        let registers = Registers::new(ring.features(), SIZE);
        let receiveq = registers.receiveq();
        let net =
            VirtioNet::start(registers, queues, pool, Options::from(format)).map_err(|error| anyhow!("{error}"))?;
        let queue = receiveq.get().context("the driver set up no queue")?;
        let device = SluiceNative::new(&arena, &[(ring, queue)], longest)?;
        Ok(Self { ring, net, burst: pool.burst(), device })
    }
}

impl Receiver for Sluice {
    fn path(&self) -> Option<&str> {
        None
    }

    fn prepare(&mut self, count: u16, len: u16) -> Result<()> {
        self.device.prepare(self.ring, count, len)
    }

    fn fill(&mut self) -> usize {
        self.device.enqueue()
    }

    #[inline(never)]
    fn take(&mut self, most: usize) -> usize {
        self.net.rx_burst(&mut self.burst, most).unwrap_or(0)
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> Result<()> {
        let frame = self.burst.frame(index)?;
        bytes.resize(frame.len().into(), 0);
        Ok(frame.copy_to_slice(0, bytes)?)
    }

    #[inline(never)]
    fn free(&mut self) {
        self.burst.clear();
    }
}
