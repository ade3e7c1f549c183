//! This VM's own network device: where frames from peers arrive.

use crate::frame::Note;
use crate::receive_queue::Buffer;
use crate::{Burst, Mempool, Options, PacketMemory, Receive, ReceiveQueue, RxError, RxStats};
use sluice_abi::call::Packet;
use sluice_abi::net::{F, HDR_LEN, Hdr};
use sluice_abi::{Gpa, PeerIdx};
use sluice_driver::{Arrival, DeviceFault, Part, QueueError, StartError, Transport};
use sluice_memory::Words;

/// Most entries of a receive queue.
pub const RX_SIZE: usize = 256;

/// The receive side of a virtio-net device: a [`ReceiveQueue`] that is filled with buffers of a pool.
pub struct VirtioNet<'p> {
    rx: ReceiveQueue,
    pool: &'p Mempool<'p>,
    stats: RxStats,
    polls_without_buffer: u64,
}

/// Why there is no such device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VirtioNetError {
    /// The memory for the queue.
    #[error("memory of the receive queue: {0}")]
    Queue(QueueError),
    /// The device.
    #[error("{0}")]
    Start(StartError),
    /// The pool has fewer free buffers than the queue has entries.
    #[error("the pool has {free} free buffers; the receive queue alone takes {entries}")]
    Pool {
        /// Free buffers of the pool.
        free: usize,
        /// Entries of the queue.
        entries: u16,
    },
    /// No receive queue has so many entries.
    #[error("a receive queue of {0} entries: it is a power of two up to {RX_SIZE}")]
    Entries(u16),
    /// Frames that are still to be segmented do not fit the buffers.
    #[error("buffers that hold frames of {longest} bytes: with a segmentation offload they must have 64 KiB")]
    Segments {
        /// Bytes of the longest frame that a buffer holds.
        longest: u16,
    },
}

impl<'p> VirtioNet<'p> {
    /// Bytes of memory for its queue.
    pub const QUEUE_LEN: u32 = ReceiveQueue::MEMORY_LEN;

    /// Starts the device behind `transport`, with its queue in `memory` and buffers of `pool`. A [`crate::RingFormat`] will do for `options`.
    ///
    /// # Errors
    /// [`VirtioNetError`]. A device whose MTU is larger than the buffers of `pool` hold is not started: [`StartError::Mtu`].
    pub fn start(
        transport: &mut impl Transport,
        memory: PacketMemory,
        pool: &'p Mempool<'p>,
        options: impl Into<Options>,
    ) -> Result<Self, VirtioNetError> {
        let (free, options) = (pool.available(), options.into());
        if free < options.entries.into() {
            return Err(VirtioNetError::Pool { free, entries: options.entries });
        }
        let rx = ReceiveQueue::start_with(transport, memory, pool.memory(), pool.longest_frame(), options)?;
        let mut net = Self { rx, pool, stats: RxStats::NONE, polls_without_buffer: 0 };
        net.refill();
        Ok(net)
    }

    /// The features that were agreed on with the device.
    pub const fn features(&self) -> F {
        self.rx.started().features
    }

    /// This VM's address.
    pub const fn mac(&self) -> [u8; 6] {
        self.rx.started().mac
    }

    /// Largest payload of a frame to this VM, bytes.
    pub const fn mtu(&self) -> u16 {
        self.rx.started().mtu
    }

    /// The rule that the device side broke; nothing is received after that.
    pub const fn fault(&self) -> Option<DeviceFault> {
        self.rx.fault()
    }

    /// Number of calls that left the device without a buffer for each entry of its queue: pool and burst had too few.
    pub const fn polls_without_buffer(&self) -> u64 {
        self.polls_without_buffer
    }

    /// Gives the device a buffer for every free entry; `false` if the pool has too few.
    #[inline]
    fn refill(&mut self) -> bool {
        let memory = self.pool.memory();
        let given = HDR_LEN + u32::from(self.pool.longest_frame());
        while self.rx.room() > 0 {
            let Some(frame) = self.pool.take() else { break };
            let offset = frame - HDR_LEN;
            // Each buffer of the pool is within its memory and long enough, so nothing is left for ReceiveQueue::post to check.
            let at = Gpa(memory.gpa.0 + u64::from(offset - memory.offset));
            if !self.rx.queue.give(at, given, Buffer { offset, token: 0 }) {
                self.pool.give_back(frame);
                break;
            }
        }
        self.rx.publish();
        self.rx.room() == 0
    }

    /// Takes one frame, if there is one. Returns whether something was taken.
    #[inline]
    fn receive(&mut self, burst: &mut Burst<'_>) -> Result<bool, DeviceFault> {
        let mut part = [Part::default()];
        match self.rx.take_parts(&mut part)? {
            Arrival::Frame(frame) => self.received(burst, part[0].token, frame.len as u16, frame.hdr),
            Arrival::Dropped(_) => {
                self.pool.give_back(part[0].token.offset);
                self.stats.bad_frame += 1;
            }
            Arrival::Nothing => return Ok(false),
        }
        Ok(true)
    }

    #[inline(always)]
    fn received(&mut self, burst: &mut Burst<'_>, buffer: Buffer, len: u16, hdr: Hdr) {
        let note = Note { hdr: Hdr { num_buffers: 1, ..hdr }, mark: 0 };
        burst.receive(Packet::new(buffer.offset + HDR_LEN, len, PeerIdx(0)), note);
        self.stats.packets += 1;
        self.stats.bytes += u64::from(len);
    }

    /// As [`VirtioNet::receive`], for a frame that may lie in several buffers.
    #[cold]
    #[inline(never)]
    fn receive_merged(&mut self, burst: &mut Burst<'_>) -> Result<bool, DeviceFault> {
        let mut parts = [Part::default(); RX_SIZE];
        let (first, hdr, len) = match self.rx.take_parts(&mut parts)? {
            Arrival::Frame(frame) => {
                let len = u16::try_from(frame.len).ok().filter(|&len| len <= self.pool.longest_frame());
                let rest = parts.get(1..frame.parts).unwrap_or_default();
                let len = len.filter(|_| self.gather(parts[0], rest));
                rest.iter().for_each(|part| self.pool.give_back(part.token.offset));
                (parts[0].token, frame.hdr, len)
            }
            Arrival::Dropped(count) => {
                parts.iter().take(count).for_each(|part| self.pool.give_back(part.token.offset));
                self.stats.bad_frame += 1;
                return Ok(true);
            }
            Arrival::Nothing => return Ok(false),
        };
        if let Some(len) = len {
            self.received(burst, first, len, hdr);
        } else {
            self.pool.give_back(first.offset);
            self.stats.too_long += 1;
        }
        Ok(true)
    }

    /// Copies the bytes of `rest` behind those of `first`. Returns whether there was room, as the caller has seen.
    fn gather(&self, first: Part<Buffer>, rest: &[Part<Buffer>]) -> bool {
        let mut end = u64::from(first.start + first.len);
        let room = HDR_LEN + u32::from(self.pool.longest_frame());
        let buffer = self.pool.slice(first.token.offset, room);
        rest.iter().all(|part| {
            let from = self.pool.slice(part.token.offset + part.start, part.len);
            let copied = buffer.copy_from(end, from, Words);
            end += u64::from(part.len);
            copied.is_ok()
        })
    }

    /// Receives until `burst` has `end` frames.
    #[inline]
    fn receive_up_to(&mut self, burst: &mut Burst<'_>, end: usize) -> Result<(), RxError> {
        if !self.pool.is(burst.pool()) {
            return Err(RxError::ForeignPool);
        }
        if self.features().contains(F::MRG_RXBUF) {
            while burst.len() < end && self.receive_merged(burst).map_err(RxError::Device)? {}
        } else {
            while burst.len() < end && self.receive(burst).map_err(RxError::Device)? {}
        }
        Ok(())
    }
}

impl Receive for VirtioNet<'_> {
    /// Whatever was received, the device gets the buffers that it lacks, as far as the pool and `into` have spare ones: without any it could
    /// never fill one again.
    #[inline]
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        let before = into.len();
        let done = self.receive_up_to(into, before + most.min(into.room()));
        if self.rx.room() > 0 && !self.refill() {
            into.release();
            self.polls_without_buffer += u64::from(!self.refill());
        }
        let received = into.len() - before;
        if received > 0 { Ok(received) } else { done.map(|()| 0) }
    }

    fn rx_stats(&self) -> RxStats {
        self.stats
    }
}
