//! This VM's own network device: where frames from peers arrive.

use crate::frame::Note;
use crate::{Burst, Mempool, PacketMemory, Receive, RingFormat, RxError, RxStats};
use sluice_abi::call::Packet;
use sluice_abi::net::{ETHERNET_HEADER, F, HDR_LEN, receiveq};
use sluice_abi::{Gpa, PeerIdx};
use sluice_driver::{
    Arrival, DeviceFault, DriverQueue, Part, QueueError, Receiver, Setup, StartError, Started, Transport, Wanted,
};

/// Entries of the receive queue.
pub const RX_SIZE: usize = 256;

/// The receive side of a virtio-net device.
pub struct VirtioNet<'p> {
    queue: DriverQueue<RX_SIZE>,
    receiver: Receiver,
    pool: &'p Mempool<'p>,
    started: Started,
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
    #[error("the pool has {0} free buffers; the receive queue alone takes {RX_SIZE}")]
    Pool(usize),
}

impl<'p> VirtioNet<'p> {
    /// Bytes of memory for its queue.
    pub const QUEUE_LEN: u32 = (DriverQueue::<RX_SIZE>::MEMORY_LEN as u32).next_multiple_of(2048);

    /// Starts the device behind `transport`, with its queue in `memory` and buffers of `pool`. The queue has the format `format` if the
    /// device offers it.
    ///
    /// # Errors
    /// [`VirtioNetError`]. A device whose MTU is larger than the buffers of `pool` hold is not started: [`StartError::Mtu`].
    pub fn start(
        transport: &mut impl Transport,
        memory: PacketMemory,
        pool: &'p Mempool<'p>,
        format: RingFormat,
    ) -> Result<Self, VirtioNetError> {
        if pool.available() < RX_SIZE {
            return Err(VirtioNetError::Pool(pool.available()));
        }
        let wanted = Wanted { features: format.features(), pairs: 1 };
        let most = pool.longest_frame() - ETHERNET_HEADER;
        let mut setup = Setup::with_mtu(transport, wanted, most).map_err(VirtioNetError::Start)?;
        let features = setup.agreed().features;
        let queue = DriverQueue::new(memory.gpa, memory.memory, RX_SIZE as u16, features);
        let queue = queue.map_err(VirtioNetError::Queue)?;
        setup.set_queue(receiveq(0), &queue).map_err(VirtioNetError::Start)?;
        let (receiver, started) = (Receiver::new(features), *setup.agreed());
        let mut net = Self { queue, receiver, pool, started, stats: RxStats::NONE, polls_without_buffer: 0 };
        net.refill();
        setup.start();
        Ok(net)
    }

    /// The features that were agreed on with the device.
    pub const fn features(&self) -> F {
        self.started.features
    }

    /// This VM's address.
    pub const fn mac(&self) -> [u8; 6] {
        self.started.mac
    }

    /// Largest payload of a frame to this VM, bytes.
    pub const fn mtu(&self) -> u16 {
        self.started.mtu
    }

    /// The rule that the device side broke; nothing is received after that.
    pub const fn fault(&self) -> Option<DeviceFault> {
        self.queue.fault()
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
        while self.queue.room() > 0 {
            let Some(offset) = self.pool.take() else { break };
            let at = Gpa(memory.gpa.0 + u64::from(offset - memory.offset) - u64::from(HDR_LEN));
            if !self.queue.give(at, given, offset) {
                self.pool.give_back(offset);
                break;
            }
        }
        self.queue.publish();
        self.queue.room() == 0
    }

    /// Takes one frame, if there is one. Returns whether a frame or a damaged one was taken.
    #[inline]
    fn receive(&mut self, burst: &mut Burst<'_>) -> Result<bool, DeviceFault> {
        let memory = self.pool.memory();
        let header = |offset: u32| {
            memory.memory.sub(u64::from(offset - memory.offset) - u64::from(HDR_LEN), HDR_LEN.into()).ok()
        };
        let mut part = [Part::default()];
        match self.receiver.take(&mut self.queue, header, &mut part)? {
            Arrival::Frame(frame) => {
                burst.receive(Packet::new(part[0].token, frame.len as u16, PeerIdx(0)), Note::PLAIN);
                self.stats.packets += 1;
                self.stats.bytes += u64::from(frame.len);
            }
            Arrival::Dropped(_) => {
                self.pool.give_back(part[0].token);
                self.stats.bad_frame += 1;
            }
            Arrival::Nothing => return Ok(false),
        }
        Ok(true)
    }

    /// Receives until `burst` has `end` frames.
    #[inline]
    fn receive_up_to(&mut self, burst: &mut Burst<'_>, end: usize) -> Result<(), RxError> {
        if !self.pool.is(burst.pool()) {
            return Err(RxError::ForeignPool);
        }
        while burst.len() < end && self.receive(burst).map_err(RxError::Device)? {}
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
        if self.queue.room() > 0 && !self.refill() {
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
