//! Queues and buffers of one pair, in a part of our memory.

use super::Request;
use crate::traffic::LONGEST;
use anyhow::{Context, Result, anyhow, bail};
use sluice_abi::Gpa;
use sluice_abi::net::{F, HDR_LEN, Hdr, PLAIN_HDR};
use sluice_driver::{DriverQueue, Received, Sender};
use sluice_memory::{OutOfRegion, PeerSlice};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use zerocopy::IntoBytes;

/// Entries of the largest queue.
const LARGEST: usize = 1_024;
/// Bytes from one receive buffer to the next; in use are [`RECEIVE_LEN`].
const RECEIVE_STRIDE: u64 = 2_048;
const RECEIVE_LEN: u32 = 2_048;
/// Bytes from one frame to send to the next, header included.
const SEND_STRIDE: u64 = 8_192;
/// Bytes of a queue and its tables.
const QUEUE_LEN: u64 = (Queue::MEMORY_LEN + Queue::TABLES_LEN).next_multiple_of(4_096);
/// Bytes of a pair's queues and buffers.
pub const PAIR_LEN: u64 = 2 * QUEUE_LEN + LARGEST as u64 * (RECEIVE_STRIDE + SEND_STRIDE);

type Queue = DriverQueue<LARGEST>;

/// Queues and buffers of one pair.
pub struct Pair {
    pub receive: Box<Queue>,
    pub transmit: Box<Queue>,
    sender: Sender,
    /// Buffers of the transmit queue that the device does not have.
    free: Vec<u32>,
    /// A frame of which only the first buffers came back yet: bytes, and buffers that are to come.
    partial: Option<(usize, u16)>,
    mergeable: bool,
    memory: PeerSlice<'static>,
    gpa: u64,
    /// Of the receive and the transmit queue: for the device, and for us.
    pub kick: [EventFd; 2],
    pub call: [EventFd; 2],
}

impl Pair {
    pub fn new(memory: PeerSlice<'static>, gpa: u64, request: &Request) -> Result<Self> {
        let queue = |at| -> Result<Box<Queue>> {
            let area = memory.sub(at, QUEUE_LEN).map_err(outside)?;
            let queue = Queue::new(Gpa(gpa + at), area, request.size, request.features);
            Ok(Box::new(queue.map_err(|error| anyhow!("queue: {error:?}"))?))
        };
        let events = || -> Result<[EventFd; 2]> { Ok([EventFd::new(EFD_NONBLOCK)?, EventFd::new(EFD_NONBLOCK)?]) };
        let mut pair = Self {
            receive: queue(0)?,
            transmit: queue(QUEUE_LEN)?,
            sender: Sender::new(request.features, u16::MAX),
            free: (0..u32::from(request.size)).collect(),
            partial: None,
            mergeable: request.features.contains(F::MRG_RXBUF),
            memory,
            gpa,
            kick: events()?,
            call: events()?,
        };
        (0..u32::from(request.size)).for_each(|token| pair.give(token));
        pair.receive.publish();
        Ok(pair)
    }

    const fn receive_at(token: u32) -> u64 {
        2 * QUEUE_LEN + token as u64 * RECEIVE_STRIDE
    }

    const fn send_at(token: u32) -> u64 {
        2 * QUEUE_LEN + LARGEST as u64 * RECEIVE_STRIDE + token as u64 * SEND_STRIDE
    }

    fn give(&mut self, token: u32) {
        let given = self.receive.give(Gpa(self.gpa + Self::receive_at(token)), RECEIVE_LEN, token);
        assert!(given, "a queue holds as many buffers as it has entries");
    }

    /// Takes back the transmit buffers that the device is done with.
    pub fn reap(&mut self) -> Result<()> {
        for _ in 0..self.transmit.ready().map_err(|fault| anyhow!("transmit queue: {fault:?}"))? {
            let Received { token, .. } = self.transmit.take().map_err(|fault| anyhow!("transmit queue: {fault:?}"))?;
            self.free.push(token);
        }
        Ok(())
    }

    /// Sends header and frame as one, two, or three pieces, by turns.
    pub fn send(&mut self, frame: &[u8]) -> Result<bool> {
        let Some(&token) = self.free.last() else { return Ok(false) };
        let (at, len) = (Self::send_at(token), frame.len() as u32);
        let hdr = self.sender.header(Hdr::default(), len).map_err(|error| anyhow!("{len} bytes: {error:?}"))?;
        self.memory.copy_from_slice(at, &[hdr.as_bytes(), frame].concat()).map_err(outside)?;
        let (gpa, total, half) = (self.gpa + at, HDR_LEN + len, HDR_LEN + len / 2);
        let all = [(Gpa(gpa), total)];
        let apart = [(Gpa(gpa), HDR_LEN), (Gpa(gpa + u64::from(HDR_LEN)), len)];
        let middle = (Gpa(gpa + u64::from(HDR_LEN)), half - HDR_LEN);
        let thrice = [(Gpa(gpa), HDR_LEN), middle, (Gpa(gpa + u64::from(half)), total - half)];
        let pieces: &[_] = match len % 3 {
            0 => &all,
            1 => &apart,
            _ => &thrice,
        };
        let sent = self.transmit.send(pieces, token);
        if sent {
            self.free.pop();
        }
        Ok(sent)
    }

    /// Takes a frame, of one buffer or several, and gives the buffers again.
    pub fn receive(&mut self, into: &mut [u8]) -> Result<Option<usize>> {
        while self.receive.ready().map_err(|fault| anyhow!("receive queue: {fault:?}"))? > 0 {
            let buffer = self.receive.take().map_err(|fault| anyhow!("receive queue: {fault:?}"))?;
            let done = self.gather(buffer, into)?;
            self.give(buffer.token);
            if done.is_some() {
                return Ok(done);
            }
        }
        Ok(None)
    }

    /// Adds `buffer` to the frame in `into`: its length, if that was the last.
    fn gather(&mut self, Received { token, len }: Received, into: &mut [u8]) -> Result<Option<usize>> {
        let mut at = Self::receive_at(token);
        let (start, left, len) = match self.partial.take() {
            Some((start, left)) => (start, left, len as usize),
            None => {
                let mut hdr = [0; HDR_LEN as usize];
                self.memory.copy_to_slice(at, &mut hdr).map_err(outside)?;
                at += u64::from(HDR_LEN);
                // DPDK 22.11 leaves it 0 in some packets if buffers are not merged, though VIRTIO 5.1.6.4.1 "Device Requirements: Processing of
                // Incoming Packets" wants 1.
                let count = if self.mergeable { u16::from_le_bytes([hdr[10], hdr[11]]) } else { 1 };
                if len < HDR_LEN || hdr[..10] != PLAIN_HDR[..10] || count == 0 {
                    bail!("receive queue: {len} bytes with header {hdr:?}");
                }
                (0, count, (len - HDR_LEN) as usize)
            }
        };
        let into = into.get_mut(start..start + len).context("a frame longer than all that are sent")?;
        self.memory.copy_to_slice(at, into).map_err(outside)?;
        if left > 1 {
            self.partial = Some((start + len, left - 1));
            return Ok(None);
        }
        Ok(Some(start + len))
    }

    pub fn publish(&mut self) -> Result<()> {
        for (queue, kick) in [&mut self.receive, &mut self.transmit].into_iter().zip(&self.kick) {
            queue.publish();
            if queue.needs_notification() {
                kick.write(1)?;
            }
        }
        Ok(())
    }
}

pub fn outside(_: OutOfRegion) -> anyhow::Error {
    anyhow!("outside of our own memory")
}

// A frame and its header have room in a piece of the transmit buffers.
const _: () = assert!(LONGEST as u64 + HDR_LEN as u64 <= SEND_STRIDE);
