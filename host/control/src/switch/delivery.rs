//! Delivery of frames into a receive queue, in a form that its driver negotiated.

use super::port::Port;
use super::rings::{Ring, Rings};
use super::{Tap, Told, offload};
use crate::Device;
use alloc::collections::BTreeSet;
use sluice_abi::directory::Queue;
use sluice_abi::net::{self, F, Hdr, gso};
use sluice_inside::Enqueue;
use sluice_memory::PeerSlice;

/// Memory of the host through which frames pass.
pub(super) struct Room {
    /// A frame as it was transmitted.
    pub frame: PeerSlice<'static>,
    /// The frame or segment that was made of it for a receiver.
    made: PeerSlice<'static>,
}

/// A frame that was transmitted.
pub(super) struct TransmittedFrame {
    /// Offloads that the sender leaves to the device.
    hdr: Hdr,
    pub bytes: PeerSlice<'static>,
    pub destination: [u8; 6],
    pub source: [u8; 6],
}

impl Room {
    /// Length in bytes of the room.
    pub const LEN: u64 = 2 * net::MAX_FRAME as u64;

    pub fn new(memory: PeerSlice<'static>) -> Option<Self> {
        let half = |at: u64| memory.sub(at, Self::LEN / 2).ok();
        Some(Self { frame: half(0)?, made: half(Self::LEN / 2)? })
    }

    /// Returns the frame of `len` bytes that was transmitted with `hdr`, if it has a whole Ethernet header.
    pub fn frame(&self, hdr: Hdr, len: u32) -> Option<TransmittedFrame> {
        let (bytes, mut head) = (self.frame.sub(0, len.into()).ok()?, [0; net::ETHERNET_HEADER as usize]);
        bytes.copy_to_slice(0, &mut head).ok()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = head;
        let hdr = offload::left(hdr);
        Some(TransmittedFrame { hdr, bytes, destination: [a, b, c, d, e, f], source: [g, h, i, j, k, l] })
    }

    /// Executes the offloads of `frame`, and calls `each` with the frame with its checksum completed, or with its
    /// segments. Returns `None` if the headers do not allow that.
    fn make(&self, frame: &TransmittedFrame, mut each: impl FnMut(PeerSlice<'static>)) -> Option<()> {
        let mut bytes = alloc::vec![0; frame.bytes.len() as usize];
        frame.bytes.copy_to_slice(0, &mut bytes).ok()?;
        let put = |bytes: &[u8]| {
            let made = self.made.sub(0, bytes.len() as u64).ok()?;
            made.copy_from_slice(0, bytes).ok()?;
            each(made);
            Some(())
        };
        offload::execute(&mut bytes, &frame.hdr, put)
    }
}

/// A delivery to one port.
pub(super) struct Delivery<'d, R, T> {
    pub vm: u32,
    pub port: &'d mut Port,
    pub rings: &'d mut R,
    pub device: &'d Device,
    /// The receive queue that is to be filled.
    pub queue: Option<Queue>,
    pub tap: &'d mut T,
    /// The notifications to send.
    pub told: &'d mut BTreeSet<Told>,
    /// Number of bytes that went into the queue.
    pub copied: u64,
}

impl<R: Rings, T: Tap> Delivery<'_, R, T> {
    /// Puts `frame` into the queue. Returns `None` if an offload has to be executed first and the headers do not allow
    /// that.
    pub fn send(&mut self, room: &Room, frame: &TransmittedFrame) -> Option<()> {
        let Some(queue) = self.queue else {
            self.port.counters.no_queue += 1;
            return Some(());
        };
        let len = u32::try_from(frame.bytes.len()).ok()?;
        if frame.hdr.fits(len, F::from_bits_truncate(queue.features).offloads_to_driver()) {
            self.put(queue, &frame.hdr, frame.bytes);
            return Some(());
        }
        room.make(frame, |made| self.put(queue, &Hdr::default(), made))
    }

    fn put(&mut self, queue: Queue, hdr: &Hdr, frame: PeerSlice<'static>) {
        let longest = u32::from(self.device.mtu()) + u32::from(net::ETHERNET_HEADER);
        let most = u64::from(longest) + u64::from(sluice_inside::tags(frame));
        if hdr.gso_type == gso::NONE && frame.len() > most {
            self.port.counters.too_long += 1;
            return;
        }
        let owed = if queue.features & F::MTU.bits() != 0 { longest } else { 0 };
        let Some(mut ring) = self.rings.ring(self.vm, &queue) else {
            self.port.counters.no_queue += 1;
            return;
        };
        let word = ring.next_used();
        let put = ring.enqueue(hdr, frame, owed);
        ring.publish();
        if ring.needs_notification() {
            self.port.tell(Told { vm: self.vm, queue: queue.index, word }, self.told);
        }
        drop(ring);
        match put {
            Ok(Enqueue::Filled) => {
                self.port.counters.forwarded += 1;
                self.port.bytes[1] += frame.len();
                self.copied += frame.len();
                self.tap.frame(self.vm, frame);
            }
            Ok(Enqueue::Full) => self.port.counters.full += 1,
            Ok(Enqueue::TooLong | Enqueue::BadHeader) => self.port.counters.too_long += 1,
            Err(clause) => self.rings.blame(self.vm, queue.index, clause),
        }
    }
}
