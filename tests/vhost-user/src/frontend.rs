//! Our front-end: the driver side, in memory that the back-end maps.
#![allow(unsafe_code, reason = "hands a mapping to queues that are dropped first")]

use crate::backend::{ROUNDS, is_readable};
use crate::memory::Mapping;
use crate::traffic::{LONGEST, Port};
use anyhow::{Context, Result, anyhow, bail};
use sluice_abi::Gpa;
use sluice_abi::net::{F, HDR_LEN, PLAIN_HDR, receiveq, transmitq};
use sluice_driver::{DriverQueue, Received};
use sluice_memory::PeerSlice;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend as Messages, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Entries of the largest queue.
const LARGEST: usize = 1_024;
/// Where our memory starts in the guest-physical space that we make up. Not 0, which is no address for some, and not the address here,
/// so that one taken for the other is noticed.
const GPA: u64 = 0x1_0000_0000;
/// Bytes from one receive buffer to the next; in use are [`RECEIVE_LEN`].
const RECEIVE_STRIDE: u64 = 2_048;
const RECEIVE_LEN: u32 = 2_048;
/// Bytes from one frame to send to the next, header included.
const SEND_STRIDE: u64 = 8_192;
/// Bytes of a queue and its tables.
const QUEUE_LEN: u64 = (Queue::MEMORY_LEN + Queue::TABLES_LEN).next_multiple_of(4_096);
/// Bytes of a pair's queues and buffers.
const PAIR_LEN: u64 = 2 * QUEUE_LEN + LARGEST as u64 * (RECEIVE_STRIDE + SEND_STRIDE);

type Queue = DriverQueue<LARGEST>;

/// What to ask the back-end for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Virtio features; all of them must be offered.
    pub features: F,
    /// Queue pairs.
    pub pairs: u16,
    /// Entries of each queue.
    pub size: u16,
}

/// A device of a back-end, and the driver side of its rings.
pub struct Frontend {
    /// Before the memory, as it is dropped in this order.
    pairs: Vec<Pair>,
    _messages: Messages,
    socket: UnixStream,
    rounds: u32,
    _file: File,
    _memory: Mapping,
}

/// Queues and buffers of one pair.
struct Pair {
    receive: Box<Queue>,
    transmit: Box<Queue>,
    /// Buffers of the transmit queue that the device does not have.
    free: Vec<u32>,
    /// A frame of which only the first buffers came back yet: bytes, and buffers that are to come.
    partial: Option<(usize, u16)>,
    mergeable: bool,
    memory: PeerSlice<'static>,
    gpa: u64,
    kick: [EventFd; 2],
    call: [EventFd; 2],
}

impl Frontend {
    /// Connects to the back-end at `path` and starts the device.
    pub fn connect(path: &Path, request: &Request) -> Result<Self> {
        let socket = UnixStream::connect(path).with_context(|| path.display().to_string())?;
        let messages = Messages::from_stream(socket.try_clone()?, 2 * u64::from(request.pairs));
        negotiate(&messages, request)?;
        let (memory, file) = Mapping::shared(PAIR_LEN * u64::from(request.pairs))?;
        messages.set_mem_table(&[VhostUserMemoryRegionInfo {
            guest_phys_addr: GPA,
            memory_size: memory.slice().len(),
            userspace_addr: memory.address(),
            mmap_offset: 0,
            mmap_handle: file.as_raw_fd(),
        }])?;
        // SAFETY: the pairs' queues are dropped before the mapping (Frontend's order of fields).
        let slice = unsafe { memory.lasting_slice() };
        let pair = |pair| {
            let at = PAIR_LEN * u64::from(pair);
            Pair::new(slice.sub(at, PAIR_LEN).map_err(outside)?, GPA + at, request)
        };
        let pairs = (0..request.pairs).map(pair).collect::<Result<Vec<_>>>()?;
        let mut frontend = Self { pairs, _messages: messages, socket, rounds: 0, _file: file, _memory: memory };
        frontend.start(request.features.contains(F::RING_PACKED))?;
        Ok(frontend)
    }

    /// Tells the back-end of every ring. One that starts packed starts with wrap counter 1.
    fn start(&mut self, packed: bool) -> Result<()> {
        let (base, messages) = (self._memory.address(), &mut self._messages);
        for (number, pair) in (0..).zip(&self.pairs) {
            for (index, queue, event) in [(receiveq(number), &pair.receive, 0), (transmitq(number), &pair.transmit, 1)]
            {
                let index = usize::from(index);
                let at = queue.addresses();
                let user = |gpa: Gpa| gpa.0 - GPA + base;
                messages.set_vring_num(index, queue.size())?;
                messages.set_vring_base(index, if packed { 1 << 15 } else { 0 })?;
                let config = VringConfigData {
                    desc_table_addr: user(at.desc),
                    avail_ring_addr: user(at.driver),
                    used_ring_addr: user(at.device),
                    ..VringConfigData::default()
                };
                messages.set_vring_addr(index, &config)?;
                messages.set_vring_call(index, &pair.call[event])?;
                messages.set_vring_kick(index, &pair.kick[event])?;
            }
        }
        (0..2 * self.pairs.len()).try_for_each(|index| Ok(messages.set_vring_enable(index, true)?))
    }

    /// Asks the device to tell of the next frame on `pair`. What came before is not told of.
    pub fn ask_for_notifications(&mut self, pair: u16) -> Result<()> {
        self.pair(pair)?.receive.suppress_interrupts(false);
        Ok(())
    }

    /// Waits until the device tells of frames on `pair`; `false` if it doesn't within `patience`.
    pub fn wait(&self, pair: u16, patience: Duration) -> Result<bool> {
        let [call, _] = &self.pairs.get(usize::from(pair)).context("no such pair")?.call;
        // SAFETY: the descriptor is open for as long as the pair is borrowed.
        let readable = is_readable(&unsafe { BorrowedFd::borrow_raw(call.as_raw_fd()) }, patience)?;
        if readable {
            call.read()?;
        }
        Ok(readable)
    }

    /// Whether the back-end has hung up.
    pub fn is_over(&self) -> Result<bool> {
        is_readable(&self.socket, Duration::ZERO)
    }

    fn pair(&mut self, pair: u16) -> Result<&mut Pair> {
        self.pairs.get_mut(usize::from(pair)).context("no such pair")
    }
}

fn negotiate(messages: &Messages, request: &Request) -> Result<()> {
    let messages = &mut messages.clone();
    messages.set_owner()?;
    let offered = messages.get_features()?;
    let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
    let wanted = request.features.bits() | protocol;
    if wanted & !offered != 0 {
        bail!("features {:#x} are not offered", wanted & !offered);
    }
    let both = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
    let both = both & messages.get_protocol_features()?;
    messages.set_protocol_features(both)?;
    // Every message is answered, so the device runs as soon as the last was sent.
    messages.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    Ok(messages.set_features(wanted)?)
}

fn outside(_: sluice_memory::OutOfRegion) -> anyhow::Error {
    anyhow!("outside of our own memory")
}

impl Pair {
    fn new(memory: PeerSlice<'static>, gpa: u64, request: &Request) -> Result<Self> {
        let queue = |at| -> Result<Box<Queue>> {
            let area = memory.sub(at, QUEUE_LEN).map_err(outside)?;
            let queue = Queue::new(Gpa(gpa + at), area, request.size, request.features);
            Ok(Box::new(queue.map_err(|error| anyhow!("queue: {error:?}"))?))
        };
        let events = || -> Result<[EventFd; 2]> { Ok([EventFd::new(EFD_NONBLOCK)?, EventFd::new(EFD_NONBLOCK)?]) };
        let mut pair = Self {
            receive: queue(0)?,
            transmit: queue(QUEUE_LEN)?,
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
    fn reap(&mut self) -> Result<()> {
        for _ in 0..self.transmit.ready().map_err(|fault| anyhow!("transmit queue: {fault:?}"))? {
            let Received { token, .. } = self.transmit.take().map_err(|fault| anyhow!("transmit queue: {fault:?}"))?;
            self.free.push(token);
        }
        Ok(())
    }

    /// Sends header and frame as one, two, or three pieces, by turns.
    fn send(&mut self, frame: &[u8]) -> Result<bool> {
        let Some(&token) = self.free.last() else { return Ok(false) };
        let (at, len) = (Self::send_at(token), frame.len() as u32);
        self.memory.copy_from_slice(at, &[&[0; HDR_LEN as usize], frame].concat()).map_err(outside)?;
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
    fn receive(&mut self, into: &mut [u8]) -> Result<Option<usize>> {
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

    fn publish(&mut self) -> Result<()> {
        for (queue, kick) in [&mut self.receive, &mut self.transmit].into_iter().zip(&self.kick) {
            queue.publish();
            if queue.needs_notification() {
                kick.write(1)?;
            }
        }
        Ok(())
    }
}

impl Port for Frontend {
    fn send(&mut self, pair: u16, frame: &[u8]) -> Result<bool> {
        self.pair(pair)?.send(frame)
    }

    fn flush(&mut self, pair: u16) -> Result<()> {
        let pair = self.pair(pair)?;
        pair.publish()?;
        pair.reap()
    }

    fn receive(&mut self, pair: u16, into: &mut [u8]) -> Result<Option<usize>> {
        self.pair(pair)?.receive(into)
    }

    fn serve(&mut self) -> Result<()> {
        self.rounds = (self.rounds + 1) % ROUNDS;
        if self.rounds == 0 && self.is_over()? {
            bail!("the back-end has hung up");
        }
        Ok(())
    }
}

// A frame and its header have room in a piece of the transmit buffers.
const _: () = assert!(LONGEST as u64 + HDR_LEN as u64 <= SEND_STRIDE);
