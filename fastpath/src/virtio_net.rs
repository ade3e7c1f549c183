//! This VM's own network device: where frames from peers arrive.

use crate::{BUFFER_LEN, Burst, Mempool, PacketMemory, Port, PortStats, RingFormat, TxError};
use core::fmt;
use sluice_abi::call::Packet;
use sluice_abi::net::{ETHERNET_HEADER, F, HDR_LEN, receiveq};
use sluice_abi::{Gpa, PeerIdx};
use sluice_driver::{
    Arrival, DeviceFault, DriverQueue, Part, QueueError, Receiver, Setup, StartError, Started, Transport, Wanted,
};

/// Entries of the receive queue.
pub const RX_SIZE: usize = 256;

/// Bytes of a buffer that the device is given: header, then frame.
const GIVEN: u32 = HDR_LEN + Mempool::LONGEST;

/// Largest payload of a frame that such a buffer holds, bytes.
const MOST: u16 = Mempool::LONGEST as u16 - ETHERNET_HEADER;

/// The receive side of a virtio-net device.
pub struct VirtioNet<'p> {
    queue: DriverQueue<RX_SIZE>,
    receiver: Receiver,
    pool: &'p Mempool<'p>,
    started: Started,
    stats: PortStats,
}

/// Why there is no such device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtioNetError {
    /// The memory for the queue.
    Queue(QueueError),
    /// The device.
    Start(StartError),
    /// The pool has fewer buffers than the queue has entries.
    Pool(usize),
}

impl fmt::Display for VirtioNetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
            Self::Pool(count) => write!(f, "the pool has {count} buffers; the receive queue alone takes {RX_SIZE}"),
        }
    }
}

impl<'p> VirtioNet<'p> {
    /// Bytes of memory for its queue.
    pub const QUEUE_LEN: u32 = (DriverQueue::<RX_SIZE>::MEMORY_LEN as u32).next_multiple_of(BUFFER_LEN);

    /// Starts the device behind `transport`, with its queue in `memory` and buffers of `pool`. The queue has the format `format` if the
    /// device offers it. An MTU that the buffers do not hold is not agreed on: it is 1,500 bytes then, and longer frames are refused to
    /// whoever sends them.
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
        let mut setup = Setup::with_mtu(transport, wanted, MOST).map_err(VirtioNetError::Start)?;
        let features = setup.agreed().features;
        let queue = DriverQueue::new(memory.gpa, memory.memory, RX_SIZE as u16, features);
        let queue = queue.map_err(VirtioNetError::Queue)?;
        setup.set_queue(receiveq(0), &queue).map_err(VirtioNetError::Start)?;
        let receiver = Receiver::new(features);
        let mut net = Self { queue, receiver, pool, started: *setup.agreed(), stats: PortStats::default() };
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

    /// Gives the device a buffer for every free entry; `false` if the pool has too few.
    #[inline]
    fn refill(&mut self) -> bool {
        let memory = self.pool.memory();
        while self.queue.room() > 0 {
            let Some(offset) = self.pool.take() else { break };
            let at = Gpa(memory.gpa.0 + u64::from(offset - memory.offset) - u64::from(HDR_LEN));
            if !self.queue.give(at, GIVEN, offset) {
                self.pool.give_back(offset);
                break;
            }
        }
        self.queue.publish();
        self.queue.room() == 0
    }

    /// One frame, if there is one; a header that asks for what was not agreed on, which is anything at all, goes with its frame.
    #[inline]
    fn receive(&mut self, burst: &mut Burst<'_>) -> Result<bool, DeviceFault> {
        let memory = self.pool.memory();
        let header = |offset: u32| {
            memory.memory.sub(u64::from(offset - memory.offset) - u64::from(HDR_LEN), HDR_LEN.into()).ok()
        };
        let mut part = [Part::default()];
        match self.receiver.take(&mut self.queue, header, &mut part)? {
            Arrival::Frame(frame) => {
                burst.put(Packet::new(part[0].token, frame.len as u16, PeerIdx(0)));
                self.stats.rx_packets += 1;
                self.stats.rx_bytes += u64::from(frame.len);
            }
            Arrival::Dropped(_) => {
                self.pool.give_back(part[0].token);
                self.stats.rx_errors += 1;
            }
            Arrival::Nothing => return Ok(false),
        }
        Ok(true)
    }
}

impl Port for VirtioNet<'_> {
    /// `burst` must be of the pool that this port was started with; nothing is received into another one's.
    ///
    /// Whatever was received, the device gets the buffers that it lacks, as far as the pool and `burst` have spare ones: without any it could
    /// never fill one again.
    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<'_>) -> usize {
        let before = burst.len();
        let ours = core::ptr::eq(core::ptr::from_ref(burst.pool()).cast::<u8>(), core::ptr::from_ref(self.pool).cast());
        while ours && burst.room() > 0 && self.receive(burst) == Ok(true) {}
        if self.queue.room() > 0 && !self.refill() {
            burst.release();
            self.stats.rx_no_mbuf += u64::from(!self.refill());
        }
        burst.len() - before
    }

    /// There is no host switch behind this device's transmit queue: send through a [`crate::PeerPort`].
    fn tx_burst(&mut self, _: &mut Burst<'_>) -> Result<usize, TxError> {
        Err(TxError::ReceiveOnly)
    }

    fn stats(&self) -> PortStats {
        self.stats
    }
}
