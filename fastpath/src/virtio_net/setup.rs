//! The steps from an unknown device to one with all its queues.

use super::transmit::TransmitParts;
use super::{TX_SIZE, VirtioNetError};
use crate::{Mempool, Options, PacketMemory, ReceiveQueue};
use sluice_abi::net::{ETHERNET_HEADER, F, transmitq};
use sluice_driver::{ControlQueue, DriverQueue, QueueError, Setup, Started, Transport, Wanted};

/// Number of entries of the transmit queue of a pair on which nothing is sent.
const IDLE: usize = 4;
/// Alignment of the memory of each queue, in bytes.
const TX_LEN: u32 = (DriverQueue::<TX_SIZE>::MEMORY_LEN as u32).next_multiple_of(64);
const IDLE_LEN: u32 = (DriverQueue::<IDLE>::MEMORY_LEN as u32).next_multiple_of(64);
const CONTROL_LEN: u32 = (ControlQueue::MEMORY_LEN as u32).next_multiple_of(64);

impl Options {
    /// Returns the length in bytes of the memory for the queues of a device with `pairs` queue pairs, whatever else the
    /// options are.
    pub const fn queue_len(pairs: u16) -> u32 {
        let pair = ReceiveQueue::MEMORY_LEN + IDLE_LEN;
        (TX_LEN + CONTROL_LEN + pairs as u32 * pair).next_multiple_of(2048)
    }
}

/// The parts of a started device beside its receive queues.
pub(super) struct Parts {
    pub transmit: TransmitParts,
    pub control: Option<ControlQueue>,
    pub started: Started,
}

/// Starts the device behind `transport`, with its receive queues, which have no buffers so far, in `places`; see
/// [`super::VirtioNet::start`].
pub(super) fn start<T: Transport>(
    transport: &mut T,
    memory: PacketMemory,
    pool: &Mempool<'_>,
    options: Options,
    places: &mut [Option<ReceiveQueue>],
) -> Result<Parts, VirtioNetError> {
    places.fill_with(|| None);
    options.check(pool.longest_frame(), places.len())?;
    let wanted = Wanted { features: options.device_features(), pairs: options.pairs };
    let most = pool.longest_frame() - ETHERNET_HEADER;
    let mut queues = Queues { setup: Setup::with_mtu(transport, wanted, most).map_err(VirtioNetError::Start)?, memory };
    let agreed = *queues.setup.agreed();
    let entries = options.entries.saturating_mul(agreed.pairs);
    if pool.available() < entries.into() {
        return Err(VirtioNetError::Pool { free: pool.available(), entries });
    }
    let tx_pair = options.tx_pair;
    if tx_pair >= agreed.pairs {
        return Err(VirtioNetError::Pairs { pairs: tx_pair.saturating_add(1), most: agreed.pairs.into() });
    }
    let queue = queues.add::<TX_SIZE>(transmitq(tx_pair), options.tx_entries, TX_LEN)?;
    let transmit = TransmitParts { queue, pair: tx_pair };
    let control = queues.add_control()?;
    for (pair, place) in (0..agreed.pairs).zip(places) {
        let memory = queues.take(ReceiveQueue::MEMORY_LEN)?;
        *place = Some(ReceiveQueue::set_up(&mut queues.setup, pair, memory, pool.memory(), options.entries)?);
        if pair != tx_pair {
            // The device may use no pair without both of its queues; nothing is ever sent on this one.
            queues.add::<IDLE>(transmitq(pair), IDLE as u16, IDLE_LEN)?;
        }
    }
    Ok(Parts { transmit, control, started: queues.setup.start() })
}

/// A device that is being set up, and the memory that is left for its queues.
struct Queues<'t, T: Transport> {
    setup: Setup<'t, T>,
    memory: PacketMemory,
}

impl<T: Transport> Queues<'_, T> {
    fn take(&mut self, len: u32) -> Result<PacketMemory, VirtioNetError> {
        let (memory, rest) = self.memory.split_at(len).ok_or(VirtioNetError::Queue(QueueError::Memory))?;
        self.memory = rest;
        Ok(memory)
    }

    fn add<const N: usize>(&mut self, index: u16, entries: u16, len: u32) -> Result<DriverQueue<N>, VirtioNetError> {
        let (memory, features) = (self.take(len)?, self.setup.agreed().features);
        let queue = DriverQueue::new(memory.gpa, memory.memory, entries, features).map_err(VirtioNetError::Queue)?;
        self.setup.set_queue(index, &queue).map_err(VirtioNetError::Start)?;
        Ok(queue)
    }

    fn add_control(&mut self) -> Result<Option<ControlQueue>, VirtioNetError> {
        let agreed = *self.setup.agreed();
        if !agreed.features.contains(F::CTRL_VQ) {
            return Ok(None);
        }
        let memory = self.take(CONTROL_LEN)?;
        let queue = ControlQueue::new(memory.gpa, memory.memory, agreed.features).map_err(VirtioNetError::Queue)?;
        self.setup.set_queue(ControlQueue::index(&agreed), queue.queue()).map_err(VirtioNetError::Start)?;
        Ok(Some(queue))
    }
}
