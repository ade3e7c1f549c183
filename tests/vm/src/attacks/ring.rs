//! A receive queue of few entries, which is started and taken back in little time.

use super::Error;
use super::numbered::Frame;
use sluice::{PacketMemory, RingFormat};
use sluice_abi::mmio::Status;
use sluice_abi::net::{F, HDR_LEN, receiveq};
use sluice_abi::virtq::{QueueAddresses, UsedElem, used};
use sluice_abi::{Gpa, packed};
use sluice_driver::{DriverQueue, Transport};
use sluice_memory::PeerSlice;
use sluice_vnf::Vnf;

/// The number of entries.
pub const SIZE: u16 = 64;
const BUFFER: u32 = 2048;
const FOUND: Status = Status::ACKNOWLEDGE.union(Status::DRIVER);

/// The queue, and a buffer for each entry.
pub struct Ring {
    queue: DriverQueue<{ SIZE as usize }>,
    buffers: PacketMemory,
    /// Where buffers were before [`Ring::move_to`], and which of them still are, by token.
    before: (PacketMemory, [bool; SIZE as usize]),
    features: F,
}

impl Ring {
    /// The length of the memory of both, bytes.
    pub const MEMORY_LEN: u32 = BUFFER * (SIZE as u32 + SIZE as u32);

    /// The length of all buffers, bytes.
    pub const BUFFERS_LEN: u64 = BUFFER as u64 * SIZE as u64;

    /// Makes a queue at the start of `memory`, with all buffers given to a device that does not know of it yet.
    pub fn new(memory: PacketMemory, format: RingFormat) -> Result<Self, Error> {
        let (_, buffers) = memory.split_at(BUFFER * u32::from(SIZE)).ok_or(Error::Arguments)?;
        Self::with_buffers(memory, buffers, format)
    }

    /// Does the same with its buffers at the start of `buffers`.
    pub fn with_buffers(memory: PacketMemory, buffers: PacketMemory, format: RingFormat) -> Result<Self, Error> {
        let features = F::VERSION_1.union(format.features());
        let queue = DriverQueue::new(memory.gpa, memory.memory, SIZE, features).map_err(|_| Error::Arguments)?;
        let mut ring = Self { queue, buffers, before: (buffers, [false; SIZE as usize]), features };
        (0..SIZE.into()).for_each(|token| ring.give(token));
        ring.queue.publish();
        Ok(ring)
    }

    /// Gives parts of `buffers` from now on, instead of the buffers that come back.
    pub fn move_to(&mut self, buffers: PacketMemory) {
        self.before = (self.buffers, [true; SIZE as usize]);
        self.buffers = buffers;
    }

    /// Returns how many buffers have moved.
    pub fn moved(&self) -> usize {
        self.before.1.iter().filter(|&&is_there| !is_there).count()
    }

    /// Starts the device, which is reset before.
    pub fn start(&self, machine: &Vnf) {
        self.prepare(machine);
        Self::go(machine);
    }

    /// Does the same with a queue that lies nowhere.
    pub fn start_nowhere(machine: &Vnf) {
        let at = Gpa(1 << 46);
        Self::enable(machine, F::VERSION_1, QueueAddresses { desc: at, driver: at, device: at });
        Self::go(machine);
    }

    /// Makes all steps but the last. Each register that is touched is an exit, so this asks the monitor's device
    /// nothing that is known of it.
    pub fn prepare(&self, machine: &Vnf) {
        Self::enable(machine, self.features, self.queue.addresses());
    }

    fn enable(machine: &Vnf, features: F, addresses: QueueAddresses) {
        let mut transport = machine.transport();
        transport.set_status(FOUND);
        transport.set_driver_features(features);
        transport.set_status(FOUND | Status::FEATURES_OK);
        transport.enable_queue(receiveq(0), SIZE, addresses);
    }

    /// Makes the last step, after which senders can reach the queue.
    pub fn go(machine: &Vnf) {
        machine.transport().set_status(FOUND | Status::FEATURES_OK | Status::DRIVER_OK);
    }

    /// Takes the queue back from the device. Once this returns, nobody writes there any more; frames that arrived can
    /// still be taken.
    pub fn stop(machine: &Vnf) {
        machine.transport().set_status(Status::empty());
    }

    /// Returns how many frames there are.
    pub fn ready(&mut self) -> Result<u16, Error> {
        self.queue.ready().map_err(|_| Error::Harmed(1))
    }

    /// Passes the next frame to `see`, if there is one, before its buffer is given back. An error says that the ring is
    /// not as a device leaves it.
    pub fn take(&mut self, see: impl FnOnce(Frame)) -> Result<bool, Error> {
        if !self.queue.is_ready().map_err(|_| Error::Harmed(1))? {
            return Ok(false);
        }
        let received = self.queue.take().map_err(|_| Error::Harmed(1))?;
        let was_before = self.before.1.get_mut(received.token as usize).is_some_and(core::mem::take);
        let buffers = if was_before { self.before.0 } else { self.buffers };
        see(frame(buffers, u64::from(received.token * BUFFER)));
        self.give(received.token);
        self.queue.publish();
        Ok(true)
    }

    /// Returns the offset in the queue's memory of what the device writes of a split ring.
    pub fn device_area(&self) -> u64 {
        self.queue.addresses().device.0 - self.queue.addresses().desc.0
    }

    /// Returns frame number `at`, from 0, that arrived in such a ring in `memory`, by what the memory holds. None of
    /// the others may be older than a ring's length. The memory has all that is left of the ring of this VM's last
    /// life.
    pub fn left(memory: PacketMemory, format: RingFormat, device_area: u64, at: u64) -> Option<Frame> {
        let (queue, buffers) = memory.split_at(BUFFER * u32::from(SIZE))?;
        let (round, slot) = (at / u64::from(SIZE), at % u64::from(SIZE));
        let desc = match format {
            RingFormat::Packed => used_packed(queue.memory, slot, round.is_multiple_of(2))?,
            _ => used_split(queue.memory.sub(device_area, used::len(SIZE)).ok()?, slot, at)?,
        };
        let address = queue.memory.read::<u64>(DESC_LEN * desc).ok()?;
        Some(frame(buffers, address.wrapping_sub(buffers.gpa.0)))
    }

    fn give(&mut self, token: u32) {
        let at = Gpa(self.buffers.gpa.0 + u64::from(token * BUFFER));
        // There is room: each token is of a buffer that the device does not have.
        let _ = self.queue.give(at, BUFFER, token);
    }
}

/// A wait for frames, which has an end: where several processors share the emulator's time, ticks are no measure.
#[derive(Default)]
pub struct Idle(u32);

impl Idle {
    /// The number of turns in which no frame came.
    const LIMIT: u32 = 20_000;

    /// Counts one more turn, unless a frame came.
    pub fn turn(&mut self, machine: &Vnf, came: bool) -> Result<(), Error> {
        if came {
            *self = Self::default();
            return Ok(());
        }
        self.0 += 1;
        machine.yield_now();
        if self.0 > Self::LIMIT { Err(Error::Endless) } else { Ok(()) }
    }
}

/// Returns what the buffer at offset `at` of `buffers` holds.
fn frame(buffers: PacketMemory, at: u64) -> Frame {
    let at = at.saturating_add(u64::from(HDR_LEN));
    core::array::from_fn(|word| buffers.memory.read(at + 8 * word as u64).unwrap_or(0))
}

/// Returns the index of the descriptor that used element `slot` names, if the device has used `at` elements and this
/// one.
fn used_split(area: PeerSlice<'static>, slot: u64, at: u64) -> Option<u64> {
    let used = area.read::<u16>(used::IDX).ok()?.wrapping_sub(at as u16);
    let element = area.read::<UsedElem>(used::RING + ELEM_LEN * slot).ok()?;
    (1..=SIZE).contains(&used).then_some(element.id.into())
}

/// Returns the index of descriptor `slot` itself, if it is used in a round with wrap counter `wrap`. The device leaves
/// its address as it is.
fn used_packed(ring: PeerSlice<'static>, slot: u64, wrap: bool) -> Option<u64> {
    let desc = ring.read::<packed::Desc>(DESC_LEN * slot).ok()?;
    let both = packed::DescF::used(true);
    let flags = packed::DescF::from_bits_retain(desc.flags).intersection(both);
    (flags == if wrap { both } else { packed::DescF::empty() }).then_some(slot)
}

/// The lengths, in bytes, of a descriptor, whose address comes first in both formats, and of a used element.
const DESC_LEN: u64 = size_of::<packed::Desc>() as u64;
const ELEM_LEN: u64 = size_of::<UsedElem>() as u64;
const _: () = assert!(BUFFER as u64 * SIZE as u64 >= DriverQueue::<{ SIZE as usize }>::MEMORY_LEN);
