//! The device that a front-end sets up: what a front-end may set, and the frames that go through its rings.

use super::table::MemoryTable;
use super::vring::{Vring, refuse};
use crate::error::{self, receive, transmit};
use crate::memory::DeviceRing;
use rustix::fs::{OFlags, fcntl_setfl};
use sluice_abi::directory::Queue;
use sluice_abi::net::{F, Hdr, receiveq, transmitq};
use sluice_abi::{packed, virtq};
use sluice_inside::{Dequeue, Enqueue};
use sluice_memory::{OutOfRegion, PeerSlice};
use std::fs::File;
use std::io;
use vhost::vhost_user::Result;
use vhost::vhost_user::message::VhostUserMemoryRegion;

/// The longest frame that a buffer must hold where buffers are not merged, bytes: an Ethernet frame with one VLAN tag.
const MIN_BUFFER: u32 = 1_518;
/// Words of scratch memory, which holds one frame with its header.
const SCRATCH: usize = 8_192;

/// What a back-end offers to its front-ends.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// The virtio features that a front-end may choose from.
    pub features: F,
    /// The number of queue pairs.
    pub pairs: u16,
}

/// The device of one session.
pub struct Device {
    pub(super) offer: Offer,
    features: F,
    vrings: Vec<Vring>,
    memory: Option<MemoryTable>,
    scratch: Vec<u64>,
    calls: u64,
}

impl Device {
    pub(super) fn new(offer: Offer) -> Self {
        let vrings = (0..2 * offer.pairs).map(|_| Vring::default()).collect();
        Self { offer, features: F::empty(), vrings, memory: None, scratch: vec![0; SCRATCH], calls: 0 }
    }

    fn vring(&mut self, index: u32) -> Result<&mut Vring> {
        let count = self.vrings.len();
        let found = self.vrings.get_mut(index as usize);
        found.map_or_else(|| refuse(format!("ring {index} of {count}")), Ok)
    }

    /// Returns the features that the front-end chose.
    pub const fn features(&self) -> F {
        self.features
    }

    pub(super) fn set_features(&mut self, features: u64) -> Result<()> {
        let chosen = F::from_bits(features).filter(|&chosen| self.offer.features.contains(chosen));
        let Some(chosen) = chosen else { return refuse(format!("features {features:#x} were not all offered")) };
        self.features = chosen;
        Ok(())
    }

    /// Replaces the memory. The old one is unmapped, with the rings in it, before the new table is read.
    pub(super) fn set_memory(&mut self, table: &[VhostUserMemoryRegion], files: &[File]) -> Result<()> {
        for vring in &mut self.vrings {
            vring.keep_base();
        }
        self.memory = None;
        self.memory = Some(MemoryTable::new(table, files)?);
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
        vring.ring = None;
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
        // Old front-ends send no used position (bits 31:16). No buffer is in flight then, so it is the position of the
        // next one.
        let base = if packed && base >> 16 == 0 { base | base << 16 } else { base };
        vring.ring = None;
        vring.base = Some(base);
        Ok(())
    }

    /// Stops the ring, and returns where it stands.
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
        let vring = self.vring(index)?;
        // The front-end may have filled what it gave, and the device waits for nobody.
        let nonblocking = call.iter().try_for_each(|call| fcntl_setfl(call, OFlags::RDWR | OFlags::NONBLOCK));
        vring.call = call;
        nonblocking.or_else(|error| refuse(format!("ring {index}: call event: {error}")))
    }

    pub(super) fn set_enabled(&mut self, index: u32, enabled: bool) -> Result<()> {
        self.vring(index)?.enabled = enabled;
        Ok(())
    }

    /// Makes the ring, once its size, addresses and memory are known and the front-end has started it.
    fn attach(&mut self, index: usize) -> Result<()> {
        let features = self.features;
        let (Some(memory), Some(vring)) = (&self.memory, self.vrings.get_mut(index)) else { return Ok(()) };
        let (Some(user), true, None) = (vring.user, vring.started, &vring.ring) else { return Ok(()) };
        let [desc, driver, device] = user.map(|user| memory.gpa(user));
        let (Some(desc), Some(driver), Some(device)) = (desc, driver, device) else {
            return refuse(format!("ring {index}: an address of {user:x?} is in no memory region"));
        };
        let addresses = virtq::QueueAddresses { desc, driver, device };
        let queue =
            Queue { addresses, features: features.bits(), index: index as u16, size: vring.size, ..Queue::default() };
        let mut ring = memory.ring(&queue, vring.base)?;
        ring.ask_for_notifications(false);
        vring.ring = Some(ring);
        Ok(())
    }

    /// Returns whether all rings of the first `pairs` queue pairs are set up and enabled.
    pub fn is_running(&self, pairs: u16) -> bool {
        let vrings = self.vrings.get(..2 * usize::from(pairs));
        vrings.is_some_and(|vrings| vrings.iter().all(|vring| vring.enabled && vring.ring.is_some()))
    }

    /// Puts `frame` into the next buffers of the pair's receive queue. Returns whether there was room; there is none,
    /// either, while the ring is not running.
    pub fn enqueue(&mut self, pair: u16, frame: &[u8]) -> error::Result<bool> {
        let error = |why: &str| receive(pair, format!("{why} (a frame of {} bytes)", frame.len()));
        let Some(vring) = self.vrings.get_mut(usize::from(receiveq(pair))) else { return Ok(false) };
        let Some(ring) = vring.running() else { return Ok(false) };
        let copied = copy(&mut self.scratch, frame).map_err(|_| error("longer than any frame"))?;
        match ring.enqueue(&Hdr { num_buffers: 1, ..Hdr::default() }, copied, MIN_BUFFER) {
            Ok(Enqueue::Filled) => Ok(true),
            Ok(Enqueue::Full) => Ok(false),
            Ok(Enqueue::TooLong) => Err(error("longer than the driver's buffers")),
            Ok(Enqueue::BadHeader) => Err(error("a header that the driver did not agree to")),
            Err(clause) => Err(error(&format!("{clause:?}"))),
        }
    }

    /// Takes the next frame of the pair's transmit queue into the front of `into`, and returns its length.
    pub fn dequeue(&mut self, pair: u16, into: &mut [u8]) -> error::Result<Option<usize>> {
        let Some(vring) = self.vrings.get_mut(usize::from(transmitq(pair))) else { return Ok(None) };
        let Some(ring) = vring.running() else { return Ok(None) };
        let scratch = PeerSlice::from_mut(&mut self.scratch);
        let room = scratch.sub(0, scratch.len().min(into.len() as u64)).unwrap_or(scratch);
        let len = match ring.dequeue(room) {
            Ok(Dequeue::Empty) => return Ok(None),
            Ok(Dequeue::Frame { len, .. }) => len as usize,
            Ok(Dequeue::TooLong) => return Err(transmit(pair, format!("a frame longer than {} bytes", room.len()))),
            Err(clause) => return Err(transmit(pair, format!("{clause:?}"))),
        };
        let taken = into.get_mut(..len).is_some_and(|into| room.copy_to_slice(0, into).is_ok());
        if taken { Ok(Some(len)) } else { Err(transmit(pair, format!("a frame of {len} bytes"))) }
    }

    /// Publishes to the driver what was filled and taken on `pair`, and notifies it where it asks for that.
    pub fn publish(&mut self, pair: u16) -> error::Result<()> {
        for index in [receiveq(pair), transmitq(pair)] {
            if let Some(vring) = self.vrings.get_mut(usize::from(index)) {
                self.calls += u64::from(vring.publish()?);
            }
        }
        Ok(())
    }

    /// Asks the driver to notify of the next frame that it sends on `pair`, or not to.
    pub fn ask_for_notifications(&mut self, pair: u16, on: bool) {
        let vring = self.vrings.get_mut(usize::from(transmitq(pair)));
        if let Some(ring) = vring.and_then(|vring| vring.ring.as_mut()) {
            ring.ask_for_notifications(on);
        }
    }

    /// Returns ring `index`, if it is set up and enabled. [`Device::notify`] goes with what is published there.
    pub fn ring(&mut self, index: u16) -> Option<&mut DeviceRing> {
        self.vrings.get_mut(usize::from(index))?.running()
    }

    /// Returns the rings that are set up and enabled.
    pub fn queues(&self) -> impl Iterator<Item = Queue> {
        let running = self.vrings.iter().filter(|vring| vring.enabled);
        running.filter_map(|vring| vring.ring.as_ref().map(|ring| *ring.entry()))
    }

    /// Returns the events by which the driver notifies of frames that it sends.
    pub fn kicks(&self) -> impl Iterator<Item = &File> {
        self.vrings.iter().skip(1).step_by(2).filter_map(|vring| vring.kick.as_ref())
    }

    /// Notifies the driver of what was published on ring `index`, if it wants to be notified at all.
    pub fn notify(&mut self, index: u16) -> io::Result<()> {
        let vring = self.vrings.get(usize::from(index));
        let told = vring.map_or(Ok(false), Vring::notify)?;
        self.calls += u64::from(told);
        Ok(())
    }

    /// Returns the event by which the driver notifies of frames on `pair`.
    pub(super) fn kick(&self, pair: u16) -> Option<&File> {
        self.vrings.get(usize::from(transmitq(pair)))?.kick.as_ref()
    }

    /// Returns how many notifications the driver was sent.
    pub const fn calls(&self) -> u64 {
        self.calls
    }
}

/// Copies `frame` to the start of `scratch`, and returns the copy.
fn copy<'s>(scratch: &'s mut [u64], frame: &[u8]) -> std::result::Result<PeerSlice<'s>, OutOfRegion> {
    let copied = PeerSlice::from_mut(scratch).sub(0, frame.len() as u64)?;
    copied.copy_from_slice(0, frame)?;
    Ok(copied)
}
