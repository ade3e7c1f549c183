//! The front-end: the driver side of a back-end's device, in memory that the back-end maps.

mod pair;

use crate::error::receive;
use crate::memory::Mapping;
use crate::wait::is_readable;
use crate::{Error, ROUNDS, Result};
use pair::{PAIR_LEN, Pair, RECEIVE_LEN};
use sluice_abi::Gpa;
use sluice_abi::net::{F, receiveq, transmitq};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend as Messages, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};

pub use pair::MAX_FRAME;

/// Where the memory starts in the guest-physical space, which the front-end makes up. The address is neither 0, which
/// some back-ends take for no address, nor the one in this process, so that a back-end that mistakes one space for the
/// other fails at once.
const GPA: u64 = 0x1_0000_0000;

/// What a front-end asks of a back-end.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The virtio features, all of which the back-end must offer.
    pub features: F,
    /// The number of queue pairs.
    pub pairs: u16,
    /// The number of entries of each queue.
    pub size: u16,
}

/// The device of a back-end, and the driver side of its rings.
pub struct Frontend {
    pairs: Vec<Pair>,
    messages: Messages,
    socket: UnixStream,
    rounds: u32,
    memory: Rc<Mapping>,
    file: File,
    request: Request,
    /// Where packed rings stood when they were stopped.
    stood: Vec<u32>,
}

impl Frontend {
    /// Connects to the back-end at `path` and starts the device.
    pub fn connect(path: &Path, request: &Request) -> Result<Self> {
        Self::connect_with_buffers(path, request, RECEIVE_LEN)
    }

    /// Connects as [`Frontend::connect`] does, with receive buffers of `len` bytes, if that is less than 2,048: with
    /// [`F::MRG_RXBUF`] a frame takes several.
    pub fn connect_with_buffers(path: &Path, request: &Request, len: u32) -> Result<Self> {
        let (messages, socket) = open(path, request)?;
        let (memory, file) = Mapping::shared(PAIR_LEN * u64::from(request.pairs))?;
        let memory = Rc::new(memory);
        let pairs =
            (0..request.pairs).map(|pair| Pair::new(pair, &memory, GPA, request, len)).collect::<Result<Vec<_>>>()?;
        let mut frontend =
            Self { pairs, messages, socket, rounds: 0, memory, file, request: *request, stood: Vec::new() };
        frontend.start()?;
        Ok(frontend)
    }

    /// Returns the length in bytes of the memory that it shares, which is all of one file.
    pub fn memory_len(&self) -> u64 {
        self.memory.slice().len()
    }

    /// Connects once more, to a back-end at `path` that took the place of one that went away. Its rings go on behind
    /// the last buffer that the old one published as used, so a frame that the old one had taken and not published is
    /// taken once more. Packed rings are refused: they do not show where that is.
    pub fn reconnect(&mut self, path: &Path) -> Result<()> {
        if self.is_packed() {
            return Err(receive(0, "a packed ring does not show where the device stands"));
        }
        (self.messages, self.socket) = open(path, &self.request)?;
        self.start()
    }

    const fn is_packed(&self) -> bool {
        self.request.features.contains(F::RING_PACKED)
    }

    /// Stops all rings. Returns where the back-end says that each stands, by its number: receive and transmit queue of
    /// each pair. [`Frontend::start`] has them go on.
    pub fn stop(&mut self) -> Result<Vec<u32>> {
        let stands = (0..2 * self.pairs.len()).map(|index| Ok(self.messages.get_vring_base(index)?));
        let stands = stands.collect::<Result<Vec<_>>>()?;
        if self.is_packed() {
            self.stood.clone_from(&stands);
        }
        Ok(stands)
    }

    /// Shares the memory with the back-end, sets up every ring there, and enables it. A packed ring starts where
    /// it stopped, at first with a wrap counter of 1, a split one behind the used buffers.
    pub fn start(&mut self) -> Result<()> {
        let packed = self.is_packed();
        let (slice, messages) = (self.memory.slice(), &mut self.messages);
        messages.set_mem_table(&[VhostUserMemoryRegionInfo {
            guest_phys_addr: GPA,
            memory_size: slice.len(),
            userspace_addr: slice.as_ptr() as u64,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }])?;
        let user = |gpa: Gpa| gpa.0 - GPA + slice.as_ptr() as u64;
        let used = |ring: &pair::Ring| slice.read::<u16>(ring.queue().addresses().device.0 - GPA + 2);
        for (number, pair) in (0..).zip(&self.pairs) {
            for (index, ring, event) in [(receiveq(number), &pair.receive, 0), (transmitq(number), &pair.transmit, 1)] {
                let (index, at) = (usize::from(index), ring.queue().addresses());
                messages.set_vring_num(index, ring.queue().size())?;
                let base = match self.stood.get(index) {
                    // Both positions are the same, and one is enough.
                    Some(stood) => *stood as u16,
                    None if packed => 1 << 15,
                    None => used(ring).map_err(|error| receive(number, format!("{error:?}")))?,
                };
                messages.set_vring_base(index, base)?;
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

    /// Puts `frame` on the transmit queue of `pair`, and returns whether there was room. The device finds it after
    /// [`Frontend::flush`].
    pub fn send(&mut self, pair: u16, frame: &[u8]) -> Result<bool> {
        self.send_in_pieces(pair, frame, 1)
    }

    /// Sends as [`Frontend::send`] does, with header and frame in 1, 2 or 3 descriptors.
    pub fn send_in_pieces(&mut self, pair: u16, frame: &[u8], pieces: usize) -> Result<bool> {
        self.pair(pair)?.send(frame, pieces)
    }

    /// Publishes to the device all that was sent and taken on `pair`, notifies it if it asks for that, and takes back
    /// the buffers of frames that it has taken.
    pub fn flush(&mut self, pair: u16) -> Result<()> {
        let pair = self.pair(pair)?;
        pair.publish()?;
        pair.reap()
    }

    /// Takes a frame into the front of `into`, and returns its length.
    pub fn receive(&mut self, pair: u16, into: &mut [u8]) -> Result<Option<usize>> {
        self.pair(pair)?.receive(into)
    }

    /// Returns [`Error::HungUp`] if the back-end has closed its socket. Only each 256th call looks, so it may stand in
    /// a polling loop.
    pub fn serve(&mut self) -> Result<()> {
        self.rounds = (self.rounds + 1) % ROUNDS;
        if self.rounds == 0 && self.is_over()? { Err(Error::HungUp) } else { Ok(()) }
    }

    /// Asks the device to notify of the next frame on `pair`. Frames that came before are not notified of.
    pub fn ask_for_notifications(&mut self, pair: u16) -> Result<()> {
        self.pair(pair)?.receive.suppress_interrupts(false);
        Ok(())
    }

    /// Waits until the device notifies of frames on `pair`, and returns whether it did within `patience`.
    pub fn wait(&self, pair: u16, patience: Duration) -> Result<bool> {
        let found = self.pairs.get(usize::from(pair));
        found.ok_or_else(|| receive(pair, "no such pair"))?.wait(patience)
    }

    /// Returns whether the back-end has closed its socket.
    pub fn is_over(&self) -> Result<bool> {
        is_readable(&self.socket, Duration::ZERO)
    }

    fn pair(&mut self, pair: u16) -> Result<&mut Pair> {
        self.pairs.get_mut(usize::from(pair)).ok_or_else(|| receive(pair, "no such pair"))
    }
}

/// Connects to the back-end at `path`, and agrees on features with it.
fn open(path: &Path, request: &Request) -> Result<(Messages, UnixStream)> {
    let socket = UnixStream::connect(path)?;
    let messages = Messages::from_stream(socket.try_clone()?, 2 * u64::from(request.pairs));
    negotiate(&messages, request)?;
    Ok((messages, socket))
}

fn negotiate(messages: &Messages, request: &Request) -> Result<()> {
    let messages = &mut messages.clone();
    messages.set_owner()?;
    let offered = messages.get_features()?;
    let wanted = request.features.bits() | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
    if wanted & !offered != 0 {
        return Err(Error::NotOffered(wanted & !offered));
    }
    let both = VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::REPLY_ACK;
    let both = both & messages.get_protocol_features()?;
    messages.set_protocol_features(both)?;
    // Every message is answered, so the device runs as soon as the last one was sent.
    messages.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    Ok(messages.set_features(wanted)?)
}
