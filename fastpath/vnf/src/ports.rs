//! The ports of a VNF, opened by one call.

use crate::machine::Transport;
use crate::{Error, Outputs, Vnf};
use core::ops::{Deref, DerefMut};
use sluice::{
    BufferLen, Burst, F, FrameMut, Gate, Idle, Mempool, Next, Offloads, PeerIdx, Poller, ReceiveQueue, RingFormat,
    VirtioNet,
};

/// Largest number of buffers of a VNF: 16 MiB of the shortest.
const BUFFERS: usize = 8192;

/// Largest number of queue pairs of a VNF's own device: one for the host's switch, and one for each VM that may send
/// through a window.
pub const MAX_PAIRS: usize = 16;

/// A VNF's own network device.
pub type Net = VirtioNet<'static, Transport, &'static mut [Option<ReceiveQueue>]>;

/// The options of a VNF for its own network device and its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Format of the queues, if the device offers it.
    pub ring: RingFormat,
    /// Length of a buffer. The longest frame that arrives, or is made, fits into one.
    pub buffer_len: BufferLen,
    /// Number of entries of each receive queue, a power of two up to [`sluice::RX_SIZE`]. As many buffers are with the
    /// device. Packet memory of 16 MiB, the largest that is registered first, has 255 buffers of 64 KiB.
    pub entries: u16,
    /// Number of queue pairs to use if the device has as many, 1 to [`MAX_PAIRS`]. A VNF that receives from the host's
    /// switch and through windows needs one, and one more for each VM that may send to it. See:
    /// [`sluice::Options::pairs`].
    pub pairs: u16,
    /// The queue pair on which frames are sent: 0, or the slow path of an in-VM switch. See:
    /// [`sluice::Options::tx_pair`].
    pub tx_pair: u16,
    /// The work that senders may leave to this VNF. With a segmentation, frames of up to 64 KiB arrive, and buffers
    /// must be [`BufferLen::KiB64`].
    pub offloads: Offloads,
    /// Further features to take if they are offered. See: [`sluice::Options::features`].
    pub features: F,
    /// The lengths of sleeps in [`Ports::idle`].
    pub idle: Idle,
}

impl Default for Options {
    /// Returns options with one queue pair, used in order, buffers of 2 KiB, and no work left to this VNF. The device's
    /// address and receive filters can be set.
    fn default() -> Self {
        let net = sluice::Options::default();
        let sluice::Options { format: ring, entries, pairs, tx_pair, offloads, features, .. } = net;
        let (buffer_len, idle) = (BufferLen::default(), Idle::default());
        Self { ring, buffer_len, entries, pairs, tx_pair, offloads, features, idle }
    }
}

impl From<Options> for sluice::Options {
    fn from(Options { ring, entries, pairs, tx_pair, offloads, features, .. }: Options) -> Self {
        Self { entries, pairs, tx_pair, offloads, features, ..ring.into() }
    }
}

/// The memory that [`Ports`] refer to, for as long as the VNF runs.
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
/// All share one pool of buffers, so a frame that arrived is sent on without a copy of the VNF's own. All methods of
/// [`Outputs`] are methods of the ports, too. The two fields can be borrowed at once: for an [`Ports::input`] in a
/// wrapper of [`sluice::wrap`], beside outputs that send.
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
    /// The VNF's own network device. Frames of others arrive here, and frames that are sent here take the slow path, by
    /// the host's switch.
    pub input: &'static mut Net,
    /// The ports to the peers.
    pub outputs: Outputs,
    poller: Poller,
}

impl Vnf {
    /// Registers packet memory with the host, starts the network device with a receive queue and buffers, and finds the
    /// gate to the peers.
    ///
    /// # Errors
    /// [`Error::Setup`] without memory for packets, if the host refuses the memory, or at a second call;
    /// [`Error::NoBuffer`], [`Error::Gate`], [`Error::Pool`] and [`Error::Net`] for the part that they name.
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
    /// Saves processor time, if it is called after each poll of [`Ports::input`] with the number of frames that the
    /// poll brought. After some polls without a frame the VNF pauses between two of them, and then sleeps until the
    /// device notifies of a frame, at most as long as [`Options::idle`] says. Returns whether the VNF slept.
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
