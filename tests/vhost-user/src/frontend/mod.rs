//! Our front-end: the driver side, in memory that the back-end maps.
#![allow(unsafe_code, reason = "hands a mapping to queues that are dropped first")]

mod pair;

use crate::backend::{ROUNDS, is_readable};
use crate::memory::Mapping;
use crate::traffic::Port;
use anyhow::{Context, Result, bail};
use pair::{PAIR_LEN, Pair, outside};
use sluice_abi::Gpa;
use sluice_abi::net::{F, receiveq, transmitq};
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend as Messages, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};

/// Where our memory starts in the guest-physical space that we make up. Not 0, which is no address for some, and not the address here,
/// so that one taken for the other is noticed.
const GPA: u64 = 0x1_0000_0000;
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
