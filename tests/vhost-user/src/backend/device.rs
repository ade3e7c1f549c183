//! The device that a front-end sets up: what it may set, and the rings it gets.

use super::memory::Memory;
use crate::memory::Mapping;
use anyhow::{anyhow, bail};
use sluice_abi::directory::Queue;
use sluice_abi::net::{F, HDR_LEN, Hdr, receiveq, transmitq};
use sluice_abi::{packed, virtq};
use sluice_inside::{Dequeue, DeviceQueue, Enqueue};
use sluice_memory::Words;
use std::fs::File;
use std::io::{self, Write};
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vhost::vhost_user::{Error, Result};

/// Longest frame that a buffer must hold where buffers are not merged: an Ethernet frame with one VLAN tag.
const OWED: u32 = 1_518;
/// Bytes between the two halves of scratch memory: one frame to send, one that is taken.
const HALF: u64 = 1 << 16;

/// What front-ends are offered.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Virtio features.
    pub features: F,
    /// Queue pairs.
    pub pairs: u16,
}

/// The device of one session.
pub struct Device {
    /// What is offered.
    pub(super) offer: Offer,
    features: F,
    /// Before the memory, as it is dropped in this order.
    vrings: Vec<Vring>,
    memory: Option<Memory>,
    scratch: Option<Mapping>,
    calls: u64,
}

/// One ring as far as it is set up.
#[derive(Default)]
struct Vring {
    size: u16,
    base: Option<u32>,
    /// Addresses in the front-end's own space: descriptors, driver area, device area.
    user: Option<[u64; 3]>,
    started: bool,
    enabled: bool,
    kick: Option<File>,
    call: Option<File>,
    queue: Option<DeviceQueue>,
}

/// A session error that says why.
pub(super) fn refuse<T>(why: String) -> Result<T> {
    Err(Error::ReqHandlerError(io::Error::other(why)))
}

impl Device {
    pub(super) fn new(offer: Offer) -> Self {
        let vrings = (0..2 * offer.pairs).map(|_| Vring::default()).collect();
        Self {
            offer,
            features: F::empty(),
            vrings,
            memory: None,
            scratch: Mapping::private(2 * HALF as usize).ok(),
            calls: 0,
        }
    }

    fn vring(&mut self, index: u32) -> Result<&mut Vring> {
        let count = self.vrings.len();
        let found = self.vrings.get_mut(index as usize);
        found.ok_or_else(|| Error::ReqHandlerError(io::Error::other(format!("ring {index} of {count}"))))
    }

    /// The features that the front-end chose.
    pub const fn features(&self) -> F {
        self.features
    }

    pub(super) fn set_features(&mut self, features: u64) -> Result<()> {
        let chosen = F::from_bits(features).filter(|&chosen| self.offer.features.contains(chosen));
        let Some(chosen) = chosen else { return refuse(format!("features {features:#x} were not all offered")) };
        self.features = chosen;
        Ok(())
    }

    /// Forgets the old memory, and the queues in it, before it looks at the new.
    pub(super) fn set_memory(&mut self, table: &[VhostUserMemoryRegion], files: &[File]) -> Result<()> {
        for vring in &mut self.vrings {
            vring.keep_base();
        }
        self.memory = None;
        self.memory = Some(Memory::new(table, files)?);
        (0..self.vrings.len()).try_for_each(|index| self.attach(index))
    }

    pub(super) fn set_size(&mut self, index: u32, size: u32) -> Result<()> {
        let packed = self.features.contains(F::RING_PACKED);
        let largest = if packed { packed::MAX_SIZE } else { virtq::MAX_SIZE };
        let fits = u16::try_from(size).ok().filter(|&size| size > 0 && size <= largest);
        let Some(size) = fits.filter(|size| packed || size.is_power_of_two()) else {
            return refuse(format!("ring {index}: {size} entries"));
        };
        let vring = self.vring(index)?;
        vring.queue = None;
        vring.size = size;
        Ok(())
    }

    pub(super) fn set_addresses(&mut self, index: u32, user: [u64; 3]) -> Result<()> {
        let vring = self.vring(index)?;
        vring.keep_base();
        vring.user = Some(user);
        self.attach(index as usize)
    }

    pub(super) fn set_base(&mut self, index: u32, base: u32) -> Result<()> {
        let packed = self.features.contains(F::RING_PACKED);
        let vring = self.vring(index)?;
        // Where the used position is not given, it is that of the next buffer: nothing is in flight.
        let base = if packed && base >> 16 == 0 { base | base << 16 } else { base };
        vring.queue = None;
        vring.base = Some(base);
        Ok(())
    }

    /// Stops the ring.
    pub(super) fn take_base(&mut self, index: u32) -> Result<u32> {
        let vring = self.vring(index)?;
        vring.keep_base();
        vring.started = false;
        Ok(vring.base.unwrap_or(0))
    }

    pub(super) fn set_kick(&mut self, index: u32, kick: Option<File>) -> Result<()> {
        let vring = self.vring(index)?;
        vring.kick = kick;
        vring.started = true;
        self.attach(index as usize)
    }

    pub(super) fn set_call(&mut self, index: u32, call: Option<File>) -> Result<()> {
        self.vring(index)?.call = call;
        Ok(())
    }

    pub(super) fn set_enabled(&mut self, index: u32, enabled: bool) -> Result<()> {
        self.vring(index)?.enabled = enabled;
        Ok(())
    }

    /// Makes the queue, once size, addresses and memory are known and the ring is started.
    fn attach(&mut self, index: usize) -> Result<()> {
        let features = self.features;
        let (Some(memory), Some(vring)) = (&self.memory, self.vrings.get_mut(index)) else { return Ok(()) };
        let (Some(user), true, None) = (vring.user, vring.started, &vring.queue) else { return Ok(()) };
        let [desc, driver, device] = user.map(|user| memory.gpa(user));
        let (Some(desc), Some(driver), Some(device)) = (desc, driver, device) else {
            return refuse(format!("ring {index}: an address of {user:x?} is in no memory region"));
        };
        let addresses = virtq::QueueAddresses { desc, driver, device };
        let queue =
            Queue { addresses, features: features.bits(), index: index as u16, size: vring.size, ..Queue::default() };
        let queue = match vring.base {
            Some(base) => DeviceQueue::resume(&queue, memory.regions(), base),
            None => DeviceQueue::new(&queue, memory.regions()),
        };
        let mut queue = queue.or_else(|clause| refuse(format!("ring {index}: {clause:?}")))?;
        queue.ask_for_notifications(false);
        vring.queue = Some(queue);
        Ok(())
    }

    /// Whether the rings of that many pairs are there and enabled.
    pub fn is_running(&self, pairs: u16) -> bool {
        let vrings = self.vrings.get(..2 * usize::from(pairs));
        vrings.is_some_and(|vrings| vrings.iter().all(|vring| vring.enabled && vring.queue.is_some()))
    }

    /// Fills buffers of the pair's receive queue with `frame`; `false` if there are too few, or the ring is not running.
    pub fn enqueue(&mut self, pair: u16, frame: &[u8]) -> anyhow::Result<bool> {
        let Self { memory: Some(memory), scratch: Some(scratch), vrings, .. } = self else { return Ok(false) };
        let vring = vrings.get_mut(usize::from(receiveq(pair))).filter(|vring| vring.enabled);
        let Some(queue) = vring.and_then(|vring| vring.queue.as_mut()) else { return Ok(false) };
        let scratch = scratch.slice();
        scratch.copy_from_slice(0, frame).map_err(|_| anyhow!("a frame of {} bytes", frame.len()))?;
        let slice = scratch.sub(0, frame.len() as u64).map_err(|_| anyhow!("a frame of {} bytes", frame.len()))?;
        match queue.enqueue(memory.regions(), &Hdr { num_buffers: 1, ..Hdr::default() }, slice, OWED, Words) {
            Ok(Enqueue::Filled) => Ok(true),
            Ok(Enqueue::Full) => Ok(false),
            Ok(Enqueue::TooLong) => bail!("receive queue {pair}: {} bytes are too long for its buffers", frame.len()),
            Ok(Enqueue::BadHeader) => bail!("receive queue {pair}: the header is refused"),
            Err(clause) => bail!("receive queue {pair}: {clause:?}"),
        }
    }

    /// Takes the next frame of the pair's transmit queue into the front of `into`: its length.
    pub fn dequeue(&mut self, pair: u16, into: &mut [u8]) -> anyhow::Result<Option<usize>> {
        let Self { memory: Some(memory), scratch: Some(scratch), vrings, .. } = self else { return Ok(None) };
        let vring = vrings.get_mut(usize::from(transmitq(pair))).filter(|vring| vring.enabled);
        let Some(queue) = vring.and_then(|vring| vring.queue.as_mut()) else { return Ok(None) };
        let scratch = scratch.slice().sub(HALF, (into.len() as u64).min(HALF)).map_err(|_| anyhow!("scratch"))?;
        let len = match queue.dequeue(memory.regions(), scratch, Words) {
            Ok(Dequeue::Empty) => return Ok(None),
            Ok(Dequeue::Frame { len, .. }) => len as usize,
            Ok(Dequeue::TooLong) => bail!("transmit queue {pair}: a frame longer than {} bytes", scratch.len()),
            Err(clause) => bail!("transmit queue {pair}: {clause:?}"),
        };
        scratch.copy_to_slice(0, &mut into[..len]).map_err(|_| anyhow!("{len} bytes"))?;
        Ok(Some(len))
    }

    /// Shows the front-end's driver what was filled and taken, and tells it where it wants to be told.
    pub fn publish(&mut self, pair: u16) -> anyhow::Result<()> {
        for index in [receiveq(pair), transmitq(pair)] {
            let vring = self.vrings.get_mut(usize::from(index)).filter(|vring| vring.enabled);
            let Some(vring) = vring else { continue };
            let Some(queue) = &mut vring.queue else { continue };
            queue.publish();
            if queue.needs_notification()
                && let Some(mut call) = vring.call.as_ref()
            {
                call.write_all(&1u64.to_le_bytes())?;
                self.calls += 1;
            }
        }
        Ok(())
    }

    /// Asks the driver to tell of the next frame that it sends on `pair`, or not to.
    pub fn ask_for_notifications(&mut self, pair: u16, on: bool) {
        let vring = self.vrings.get_mut(usize::from(transmitq(pair)));
        if let Some(queue) = vring.and_then(|vring| vring.queue.as_mut()) {
            queue.ask_for_notifications(on);
        }
    }

    /// What the driver tells of its frames on `pair` by.
    pub(super) fn kick(&self, pair: u16) -> Option<&File> {
        self.vrings.get(usize::from(transmitq(pair)))?.kick.as_ref()
    }

    /// How often the driver was told of something.
    pub const fn calls(&self) -> u64 {
        self.calls
    }
}

impl Vring {
    /// Detaches the queue; attached again, it goes on where it is.
    fn keep_base(&mut self) {
        if let Some(queue) = self.queue.take() {
            self.base = Some(queue.base());
        }
    }
}

// A frame and its header are in one half of the scratch memory.
const _: () = assert!(crate::traffic::LONGEST as u64 + HDR_LEN as u64 <= HALF);
