//! The queues and buffers of one pair, in a part of the front-end's memory.

use super::Request;
use crate::error::{Error, Result, receive, transmit};
use crate::memory::{DriverRing, Mapping};
use sluice_abi::Gpa;
use sluice_abi::net::{F, HDR_LEN, Hdr, PLAIN_HDR};
use sluice_driver::{DriverQueue, Received, Sender};
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use zerocopy::IntoBytes;

/// The largest number of entries of a queue.
const MAX_SIZE: usize = 1_024;
/// The length of a receive buffer, bytes, unless it is to be shorter.
pub const RECEIVE_LEN: u32 = 2_048;
/// The length of a transmit buffer, which holds a header and a frame, bytes.
const TRANSMIT_LEN: u64 = 8_192;
/// The longest frame that can be sent, bytes.
pub const MAX_FRAME: usize = TRANSMIT_LEN as usize - HDR_LEN as usize;
/// The length of a queue and its tables, bytes.
const QUEUE_LEN: u64 =
    (DriverQueue::<MAX_SIZE>::MEMORY_LEN + DriverQueue::<MAX_SIZE>::TABLES_LEN).next_multiple_of(4_096);
/// The length of a pair's queues and buffers, bytes.
pub const PAIR_LEN: u64 = 2 * QUEUE_LEN + MAX_SIZE as u64 * (RECEIVE_LEN as u64 + TRANSMIT_LEN);

pub type Ring = DriverRing<MAX_SIZE>;

/// The queues and buffers of one pair.
pub struct Pair {
    number: u16,
    pub receive: Ring,
    pub transmit: Ring,
    sender: Sender,
    /// The buffers of the transmit queue that the device does not have.
    free: Vec<u32>,
    /// A frame of which only the first buffers came back yet: its bytes so far, and the number of buffers that are
    /// missing.
    partial: Option<(usize, u16)>,
    mergeable: bool,
    /// The length of a receive buffer, bytes.
    receive_len: u32,
    memory: Rc<Mapping>,
    /// Where the pair starts in the memory, bytes.
    start: u64,
    /// The guest-physical address of the memory.
    gpa: u64,
    /// The events of the receive and the transmit queue by which the device is notified.
    pub kick: [EventFd; 2],
    /// The events of the receive and the transmit queue by which the driver is notified.
    pub call: [EventFd; 2],
}

impl Pair {
    /// Makes pair `number` in its part of `memory`, which the device knows as `gpa`, and gives all receive buffers, of
    /// `receive_len` bytes, to the device.
    pub fn new(number: u16, memory: &Rc<Mapping>, gpa: u64, request: &Request, receive_len: u32) -> Result<Self> {
        let start = PAIR_LEN * u64::from(number);
        let ring = |at| {
            let ring = Ring::new(memory, (at, QUEUE_LEN), Gpa(gpa + at), request.size, request.features);
            ring.map_err(|error| receive(number, format!("{error:?}")))
        };
        let events = || -> io::Result<_> { Ok([EventFd::new(EFD_NONBLOCK)?, EventFd::new(EFD_NONBLOCK)?]) };
        let mut pair = Self {
            number,
            receive: ring(start)?,
            transmit: ring(start + QUEUE_LEN)?,
            sender: Sender::new(request.features, u16::MAX),
            free: (0..u32::from(request.size)).collect(),
            partial: None,
            mergeable: request.features.contains(F::MRG_RXBUF),
            receive_len: receive_len.min(RECEIVE_LEN),
            memory: memory.clone(),
            start,
            gpa,
            kick: events()?,
            call: events()?,
        };
        (0..u32::from(request.size)).for_each(|token| pair.give(token));
        pair.receive.publish();
        Ok(pair)
    }

    const fn receive_at(&self, token: u32) -> u64 {
        self.start + 2 * QUEUE_LEN + token as u64 * RECEIVE_LEN as u64
    }

    const fn transmit_at(&self, token: u32) -> u64 {
        self.start + 2 * QUEUE_LEN + MAX_SIZE as u64 * RECEIVE_LEN as u64 + token as u64 * TRANSMIT_LEN
    }

    fn give(&mut self, token: u32) {
        let given = self.receive.give(Gpa(self.gpa + self.receive_at(token)), self.receive_len, token);
        debug_assert!(given, "a queue holds as many buffers as it has entries");
    }

    fn receive_error(&self, why: impl std::fmt::Debug) -> Error {
        receive(self.number, format!("{why:?}"))
    }

    fn transmit_error(&self, why: impl std::fmt::Debug) -> Error {
        transmit(self.number, format!("{why:?}"))
    }

    /// Takes back the transmit buffers that the device has used.
    pub fn reap(&mut self) -> Result<()> {
        for _ in 0..self.transmit.ready().map_err(|fault| self.transmit_error(fault))? {
            let Received { token, .. } = self.transmit.take().map_err(|fault| self.transmit_error(fault))?;
            self.free.push(token);
        }
        Ok(())
    }

    /// Sends header and frame in 1, 2 or 3 descriptors, and returns whether there was room.
    pub fn send(&mut self, frame: &[u8], pieces: usize) -> Result<bool> {
        if frame.len() > MAX_FRAME {
            return Err(self.transmit_error(format_args!("a frame of {} bytes", frame.len())));
        }
        let Some(&token) = self.free.last() else { return Ok(false) };
        let (at, len) = (self.transmit_at(token), frame.len() as u32);
        let hdr = self.sender.header(Hdr::default(), len).map_err(|error| self.transmit_error(error))?;
        let bytes = [hdr.as_bytes(), frame].concat();
        self.memory.slice().copy_from_slice(at, &bytes).map_err(|error| self.transmit_error(error))?;
        let gpa = |offset: u32| Gpa(self.gpa + at + u64::from(offset));
        let (half, total) = (HDR_LEN + len / 2, HDR_LEN + len);
        let sent = match pieces {
            1 => self.transmit.send(&[(gpa(0), total)], token),
            2 => self.transmit.send(&[(gpa(0), HDR_LEN), (gpa(HDR_LEN), len)], token),
            _ => {
                let thirds = [(gpa(0), HDR_LEN), (gpa(HDR_LEN), half - HDR_LEN), (gpa(half), total - half)];
                self.transmit.send(&thirds, token)
            }
        };
        self.free.truncate(self.free.len() - usize::from(sent));
        Ok(sent)
    }

    /// Takes a frame, of one buffer or several, and gives the buffers to the device again.
    pub fn receive(&mut self, into: &mut [u8]) -> Result<Option<usize>> {
        while self.receive.ready().map_err(|fault| self.receive_error(fault))? > 0 {
            let buffer = self.receive.take().map_err(|fault| self.receive_error(fault))?;
            let done = self.gather(buffer, into)?;
            self.give(buffer.token);
            if done.is_some() {
                return Ok(done);
            }
        }
        Ok(None)
    }

    /// Adds `buffer` to the frame in `into`. Returns the frame's length, if this was its last buffer.
    fn gather(&mut self, Received { token, len }: Received, into: &mut [u8]) -> Result<Option<usize>> {
        let at = self.receive_at(token);
        let (start, missing, skipped) = match self.partial.take() {
            Some((start, missing)) => (start, missing, 0),
            None => (0, self.buffers(at, len)?, HDR_LEN),
        };
        let end = start + (len - skipped) as usize;
        let Some(part) = into.get_mut(start..end) else { return Err(self.receive_error("a frame too long")) };
        let copied = self.memory.slice().copy_to_slice(at + u64::from(skipped), part);
        copied.map_err(|error| self.receive_error(error))?;
        if missing > 1 {
            self.partial = Some((end, missing - 1));
            return Ok(None);
        }
        Ok(Some(end))
    }

    /// Returns how many buffers the frame has whose first buffer, of `len` bytes, lies at `at`.
    fn buffers(&self, at: u64, len: u32) -> Result<u16> {
        let mut hdr = [0; HDR_LEN as usize];
        self.memory.slice().copy_to_slice(at, &mut hdr).map_err(|error| self.receive_error(error))?;
        // DPDK 22.11 leaves it 0 in some packets if buffers are not merged, though VIRTIO 5.1.6.4.1 "Device
        // Requirements: Processing of Incoming Packets" wants 1.
        let count = if self.mergeable { u16::from_le_bytes([hdr[10], hdr[11]]) } else { 1 };
        if len < HDR_LEN || hdr[..10] != PLAIN_HDR[..10] || count == 0 {
            return Err(self.receive_error(format_args!("{len} bytes with header {hdr:?}")));
        }
        Ok(count)
    }

    /// Publishes to the device all that was given and sent, and notifies it if it asks for that.
    pub fn publish(&mut self) -> io::Result<()> {
        for (ring, kick) in [&mut self.receive, &mut self.transmit].into_iter().zip(&self.kick) {
            ring.publish();
            if ring.needs_notification() {
                kick.write(1)?;
            }
        }
        Ok(())
    }

    /// Waits until the device notifies of frames, and returns whether it did within `patience`.
    pub fn wait(&self, patience: Duration) -> Result<bool> {
        let (epoll, call) = (Epoll::new()?, &self.call[0]);
        epoll.ctl(ControlOperation::Add, call.as_raw_fd(), EpollEvent::new(EventSet::IN, 0))?;
        let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        let notified = epoll.wait(patience, &mut [EpollEvent::default()])? > 0;
        if notified {
            call.read()?;
        }
        Ok(notified)
    }
}
