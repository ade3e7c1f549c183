//! Everything that a VNF receives from and sends to, opened by one call.

use crate::machine::Transport;
use crate::{Error, Outputs, Vnf};
use core::ops::{Deref, DerefMut};
use sluice::{
    BufferLen, Burst, F, FrameMut, Gate, Idle, Mempool, Next, Offloads, PeerIdx, Poller, ReceiveQueue, RingFormat,
    VirtioNet,
};

/// Buffers that a VNF has at most: 16 MiB of the shortest.
const BUFFERS: usize = 8192;

/// Queue pairs of a VNF's own device at most: one for the host's switch, and one for each VM that may send by a window.
pub const MAX_PAIRS: usize = 16;

/// A VNF's own network device.
pub type Net = VirtioNet<'static, Transport, &'static mut [Option<ReceiveQueue>]>;

/// How a VNF's own network device and its buffers shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Format of the queues, if the device offers that.
    pub ring: RingFormat,
    /// Bytes of a buffer: what the longest frame that arrives, or is made, fits into.
    pub buffer_len: BufferLen,
    /// Entries of each receive queue, a power of two up to [`sluice::RX_SIZE`]: as many buffers are with the device. Packet memory of 16 MiB, the most
    /// that is registered first, has 255 buffers of 64 KiB.
    pub entries: u16,
    /// Queue pairs to use if the device has as many, 1 to [`MAX_PAIRS`]. A VNF that receives from the host's switch and by windows needs one,
    /// and one more for each VM that may send to it. See: [`sluice::Options::pairs`].
    pub pairs: u16,
    /// What senders may leave to this VNF. With a segmentation, frames of up to 64 KiB arrive, and buffers must be [`BufferLen::KiB64`].
    pub offloads: Offloads,
    /// Further features to take if they are offered. See: [`sluice::Options::features`].
    pub features: F,
    /// How long the VNF sleeps in [`Ports::idle`].
    pub idle: Idle,
}

impl Default for Options {
    /// One queue pair, used in order, with buffers of 2 KiB; nothing is left to this VNF; the device's address and receive filters can be set.
    fn default() -> Self {
        let net = sluice::Options::default();
        let sluice::Options { format: ring, entries, pairs, offloads, features, .. } = net;
        Self { ring, buffer_len: BufferLen::default(), entries, pairs, offloads, features, idle: Idle::default() }
    }
}

impl From<Options> for sluice::Options {
    fn from(Options { ring, entries, pairs, offloads, features, .. }: Options) -> Self {
        Self { entries, pairs, offloads, features, ..ring.into() }
    }
}

/// What [`Ports`] refer to, for as long as the VNF runs.
pub(crate) struct Store {
    free: [u32; BUFFERS],
    gate: Option<Gate>,
    pool: Option<Mempool<'static>>,
    queues: [Option<ReceiveQueue>; MAX_PAIRS],
    net: Option<Net>,
}

impl Store {
    pub const fn new() -> Self {
        Self { free: [0; BUFFERS], gate: None, pool: None, queues: [const { None }; MAX_PAIRS], net: None }
    }
}

/// A VNF's ports: its own network device, where frames of others arrive, and a port to each peer that it may send to.
///
/// All share one pool of buffers, so a frame that arrived is sent on without a copy of the VNF's own. What [`Outputs`] can do, these can, too. The
/// two fields can be borrowed at once: for an [`Ports::input`] in a wrapper of [`sluice::wrap`], beside outputs that send.
///
/// ```no_run
/// # use sluice_vnf::{Error, PeerIdx, Ports, Vnf};
/// use sluice_vnf::wrap::Counter;
///
/// fn count_and_relay(ports: &mut Ports, peer: PeerIdx) -> Result<u64, Error> {
///     let mut input = Counter::new(&mut *ports.input);
///     ports.outputs.relay_from(&mut input, peer, |_| ())?;
///     Ok(input.received().frames.iter().sum())
/// }
/// ```
pub struct Ports {
    /// The VNF's own network device: what others send arrives here, and what is sent here takes the slow path, by the host's switch.
    pub input: &'static mut Net,
    /// The ports to the peers.
    pub outputs: Outputs,
    poller: Poller,
}

impl Vnf {
    /// Registers packet memory with the host, starts the network device with a receive queue and buffers, and finds the gate to the peers.
    ///
    /// # Errors
    /// [`Error::Setup`] without memory for packets, or if the host refuses it, or at a second call; [`Error::Gate`], [`Error::Pool`] and
    /// [`Error::Net`] for the part that they name.
    pub fn open(&mut self, options: Options) -> Result<Ports, Error> {
        let (gate, memory) = self.connect()?;
        let store = self.store().ok_or(Error::Setup(crate::SetupError::Taken))?;
        let Store { free, gate: gate_place, pool, queues: places, net } = store;
        let len = sluice::Options::queue_len(options.pairs.min(MAX_PAIRS as u16));
        let (queues, buffers) = memory.split_at(len).ok_or(Error::NoBuffer)?;
        let pool = pool.insert(Mempool::new(buffers, options.buffer_len, free)?);
        let input = net.insert(VirtioNet::start_pairs(self.transport(), queues, pool, options, &mut places[..])?);
        let (gate, poller) = (gate_place.insert(gate), Poller::new(options.idle));
        Ok(Ports { input, outputs: Outputs::new(gate, pool), poller })
    }
}

impl Ports {
    /// Call this after each poll of [`Ports::input`] that is to save processor time, with the number of frames that the poll brought. After
    /// some polls that brought none the VNF pauses between two of them, and then sleeps: until the device tells of a frame, and at most for so
    /// long as [`Options::idle`] says. Returns whether it slept.
    pub fn idle(&mut self, vnf: &mut Vnf, received: usize) -> bool {
        match self.poller.polled(received) {
            Next::Poll => false,
            Next::Sleep(at_most) => self.input.sleep(vnf, at_most),
        }
    }

    /// Does [`Outputs::relay_from`] with [`Ports::input`].
    ///
    /// # Errors
    /// As [`Outputs::relay_from`].
    pub fn relay(&mut self, peer: PeerIdx, work: impl FnMut(&mut Burst<'static>)) -> Result<(), Error> {
        self.outputs.relay_from(self.input, peer, work)
    }

    /// Does [`Outputs::distribute_from`] with [`Ports::input`].
    ///
    /// # Errors
    /// As [`Outputs::distribute_from`].
    pub fn distribute(
        &mut self,
        queues: &mut [(PeerIdx, Burst<'static>)],
        choose: impl FnMut(&mut FrameMut<'_>) -> Option<PeerIdx>,
    ) -> Result<usize, Error> {
        self.outputs.distribute_from(self.input, queues, choose)
    }
}

impl Deref for Ports {
    type Target = Outputs;

    fn deref(&self) -> &Outputs {
        &self.outputs
    }
}

impl DerefMut for Ports {
    fn deref_mut(&mut self) -> &mut Outputs {
        &mut self.outputs
    }
}
