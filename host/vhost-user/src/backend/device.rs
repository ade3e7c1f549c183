//! The device that a front-end sets up: what a front-end may set, and the frames that go through its rings.

use super::agreed::{Messages, Offered, Rings};
use super::table::MemoryTable;
use super::vring::Vring;
use crate::error::{Result, receive, transmit};
use crate::memory::{DeviceRing, Mapping};
use crate::message::body::{LogArea, Region};
use sluice_abi::directory::Queue;
use sluice_abi::net::{F, Hdr, receiveq, transmitq};
use sluice_inside::{Dequeue, Enqueue};
use sluice_memory::{OutOfRegion, PeerSlice};
use std::fs::File;
use std::io;
use std::rc::Rc;

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

/// A log of pages that are written, of a front-end that migrates its guest.
pub struct Log {
    /// Where the log lies in its file.
    pub area: LogArea,
    /// The file that shares it.
    pub file: File,
    pub(super) mapping: Rc<Mapping>,
}

/// The device of one session.
pub struct Device {
    pub(super) offer: Offer,
    pub(super) offered: Offered,
    pub(super) messages: Messages,
    pub(super) rings: Option<Rings>,
    pub(super) vrings: Vec<Vring>,
    pub(super) memory: Option<MemoryTable>,
    pub(super) log: Option<Log>,
    pub(super) status: u8,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) mtu: Option<u16>,
    scratch: Vec<u64>,
    calls: u64,
}

impl Device {
    pub(super) fn new(offer: Offer) -> Self {
        Self {
            offer,
            offered: Offered::new(offer.features),
            messages: Messages::default(),
            rings: None,
            vrings: (0..2 * offer.pairs).map(|_| Vring::default()).collect(),
            memory: None,
            log: None,
            status: 0,
            mac: None,
            mtu: None,
            scratch: vec![0; SCRATCH],
            calls: 0,
        }
    }

    /// Returns the features that the front-end chose: none before it did.
    pub fn features(&self) -> F {
        self.rings.map_or(F::empty(), |rings| rings.features)
    }

    /// Returns the device status that the front-end has set. See: VIRTIO 2.1 "Device Status Field".
    pub const fn status(&self) -> u8 {
        self.status
    }

    /// Returns the guest's MAC address, once the front-end has asked to announce it: it does after a migration of a
    /// guest that can't do that itself. See: message `VHOST_USER_SEND_RARP`.
    pub const fn mac(&self) -> Option<[u8; 6]> {
        self.mac
    }

    /// Returns the MTU that the guest was told, bytes, if the front-end has said it.
    pub const fn mtu(&self) -> Option<u16> {
        self.mtu
    }

    /// Returns the front-end's memory, each region with the file that shares it: none before the front-end gives it.
    pub fn memory(&self) -> &[(Region, File)] {
        self.memory.as_ref().map_or(&[], MemoryTable::regions)
    }

    /// Returns the log in which who writes into the front-end's memory has to mark each page, from now on, if there is
    /// one: bit `page % 8` of byte `page / 8`.
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref().filter(|_| self.rings.is_some_and(|rings| rings.logged))
    }

    /// Returns the queue of ring `index`, by guest-physical addresses, if the ring is set up and enabled.
    pub fn queue(&self, index: u16) -> Option<&Queue> {
        let vring = self.vrings.get(usize::from(index)).filter(|vring| vring.enabled)?;
        vring.ring.as_ref().map(DeviceRing::layout)
    }

    /// Returns the event by which the driver is notified of what is used in ring `index`.
    pub fn call(&self, index: u16) -> Option<&File> {
        self.vrings.get(usize::from(index))?.call.as_ref()
    }

    /// Returns whether all rings of the first `pairs` queue pairs are set up and enabled.
    pub fn is_running(&self, pairs: u16) -> bool {
        let vrings = self.vrings.get(..2 * usize::from(pairs));
        vrings.is_some_and(|vrings| vrings.iter().all(|vring| vring.enabled && vring.ring.is_some()))
    }

    /// Puts `frame` into the next buffers of the pair's receive queue. Returns whether there was room; there is none,
    /// either, while the ring is not running.
    pub fn enqueue(&mut self, pair: u16, frame: &[u8]) -> Result<bool> {
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
    pub fn dequeue(&mut self, pair: u16, into: &mut [u8]) -> Result<Option<usize>> {
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
    pub fn publish(&mut self, pair: u16) -> Result<()> {
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
        running.filter_map(|vring| vring.ring.as_ref().map(|ring| *ring.layout()))
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
