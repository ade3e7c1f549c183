//! A receive queue of few entries: started, and taken back, in little time.

use crate::attack::Error;
use crate::numbered::Frame;
use sluice::{PacketMemory, RingFormat};
use sluice_abi::Gpa;
use sluice_abi::mmio::Status;
use sluice_abi::net::{F, HDR_LEN, receiveq};
use sluice_driver::{DriverQueue, Transport};
use sluice_memory::PeerSlice;
use sluice_runtime::Machine;

const SIZE: u16 = 64;
const BUFFER: u32 = 2048;
const FOUND: Status = Status::ACKNOWLEDGE.union(Status::DRIVER);

/// The queue, and a buffer for each entry.
pub struct Ring {
    queue: DriverQueue<{ SIZE as usize }>,
    buffers: PacketMemory,
}

impl Ring {
    /// Bytes of memory for both.
    pub const MEMORY_LEN: u32 = BUFFER * (SIZE as u32 + SIZE as u32);

    /// Starts the device, which is reset, with a queue at the start of `memory`.
    pub fn start(machine: &Machine, memory: PacketMemory, format: RingFormat) -> Result<Self, Error> {
        let ring = Self::prepare(machine, memory, format)?;
        Self::go(machine);
        Ok(ring)
    }

    /// All of that but the last step. Each register that is touched is an exit, so this asks the monitor's device nothing that is known of it.
    pub fn prepare(machine: &Machine, memory: PacketMemory, format: RingFormat) -> Result<Self, Error> {
        let features = F::VERSION_1.union(format.features());
        let (queue, buffers) = memory.split_at(BUFFER * u32::from(SIZE)).ok_or(Error::Arguments)?;
        let queue = DriverQueue::new(queue.gpa, queue.memory, SIZE, features).map_err(|_| Error::Arguments)?;
        let mut ring = Self { queue, buffers };
        (0..SIZE.into()).for_each(|token| ring.give(token));
        ring.queue.publish();
        let mut transport = machine.transport();
        transport.set_status(FOUND);
        transport.set_driver_features(features);
        transport.set_status(FOUND | Status::FEATURES_OK);
        transport.enable_queue(receiveq(0), SIZE, ring.queue.addresses());
        Ok(ring)
    }

    /// The last step: senders can reach the queue.
    pub fn go(machine: &Machine) {
        machine.transport().set_status(FOUND | Status::FEATURES_OK | Status::DRIVER_OK);
    }

    /// Takes the queue back from the device. Once this returns, nobody writes there any more; what arrived can still be taken.
    pub fn stop(machine: &Machine) {
        machine.transport().set_status(Status::empty());
    }

    /// The next frame, if there is one.
    pub fn take(&mut self) -> Option<Frame> {
        if self.queue.is_ready() != Ok(true) {
            return None;
        }
        let received = self.queue.take().ok()?;
        let buffer = self.buffer(received.token)?;
        let frame = core::array::from_fn(|at| buffer.read(u64::from(HDR_LEN) + 8 * at as u64).unwrap_or(0));
        self.give(received.token);
        self.queue.publish();
        Some(frame)
    }

    fn give(&mut self, token: u32) {
        let at = Gpa(self.buffers.gpa.0 + u64::from(token * BUFFER));
        // There is room: each token is of a buffer that the device does not have.
        let _ = self.queue.give(at, BUFFER, token);
    }

    fn buffer(&self, token: u32) -> Option<PeerSlice<'static>> {
        self.buffers.memory.sub(u64::from(token * BUFFER), BUFFER.into()).ok()
    }
}

const _: () = assert!(BUFFER as u64 * SIZE as u64 >= DriverQueue::<{ SIZE as usize }>::MEMORY_LEN);
