//! Everything that a VNF receives from and sends to, opened by one call.

use crate::machine::{Transport, yield_now};
use crate::{Error, Vnf};
use sluice::{
    BURST_SIZE, BufferLen, Burst, F, FrameMut, Gate, Idle, Mempool, Next, PeerIdx, PeerPort, PeerState, Poller,
    Receive, RingFormat, Transmit, TxError, TxStats, VirtioNet,
};
use sluice_abi::directory::MAX_PEERS;

/// Buffers that a VNF has at most: 16 MiB of the shortest.
const BUFFERS: usize = 8192;

/// Queue pairs of a VNF's own device at most: one for the host's switch, and one for each VM that may send by a window.
pub const MAX_PAIRS: usize = 8;

/// A VNF's own network device.
pub type Net = VirtioNet<'static, Transport, MAX_PAIRS>;

/// How a VNF's own network device and its buffers shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Format of the queues, if the device offers that.
    pub ring: RingFormat,
    /// Bytes of a buffer: what the longest frame that arrives, or is made, fits into.
    pub buffer_len: BufferLen,
    /// Queue pairs to use if the device has as many, 1 to [`MAX_PAIRS`]. A VNF that receives from the host's switch and by windows needs one,
    /// and one more for each VM that may send to it. See: [`sluice::Options::pairs`].
    pub pairs: u16,
    /// Further features to take if they are offered. See: [`sluice::Options::features`].
    pub features: F,
    /// How long the VNF sleeps in [`Ports::idle`].
    pub idle: Idle,
}

impl Default for Options {
    /// One queue pair, used in order, with buffers of 2 KiB; the device's address and receive filters can be set.
    fn default() -> Self {
        let net = sluice::Options::default();
        let (ring, pairs, features) = (net.format, net.pairs, net.features);
        Self { ring, buffer_len: BufferLen::default(), pairs, features, idle: Idle::default() }
    }
}

impl From<Options> for sluice::Options {
    fn from(Options { ring, pairs, features, .. }: Options) -> Self {
        Self { pairs, features, ..ring.into() }
    }
}

/// What [`Ports`] refer to, for as long as the VNF runs.
pub(crate) struct Store {
    free: [u32; BUFFERS],
    gate: Option<Gate>,
    pool: Option<Mempool<'static>>,
    net: Option<Net>,
}

impl Store {
    pub const fn new() -> Self {
        Self { free: [0; BUFFERS], gate: None, pool: None, net: None }
    }
}

/// A VNF's ports: its own network device, where frames of others arrive, and a port to each peer that it may send to.
///
/// All share one pool of buffers, so a frame that arrived is sent on without a copy of the VNF's own.
pub struct Ports {
    /// The VNF's own network device: what others send arrives here, and what is sent here takes the slow path, by the host's switch.
    pub input: &'static mut Net,
    poller: Poller,
    gate: &'static Gate,
    pool: &'static Mempool<'static>,
    /// By [`PeerIdx`], as soon as they are used; the last is for a peer that no directory has.
    outputs: [Option<PeerPort<'static>>; MAX_PEERS + 1],
}

impl Vnf {
    /// Registers packet memory with the host, starts the network device with a receive queue and buffers, and finds the gate to the peers.
    ///
    /// # Errors
    /// [`Error::Setup`] without memory for packets, or if the host refuses it, or at a second call; [`Error::Gate`], [`Error::Pool`] and
    /// [`Error::Net`] for the part that they name.
    pub fn open(&mut self, options: Options) -> Result<Ports, Error> {
        let (gate, memory) = self.connect()?;
        let Store { free, gate: gate_place, pool, net } = self.store().ok_or(Error::Setup(crate::SetupError::Taken))?;
        let len = sluice::Options::queue_len(options.pairs.min(MAX_PAIRS as u16));
        let (queues, buffers) = memory.split_at(len).ok_or(Error::NoBuffer)?;
        let pool = pool.insert(Mempool::new(buffers, options.buffer_len, free)?);
        let input = net.insert(VirtioNet::start_pairs(self.transport(), queues, pool, options)?);
        let (gate, poller) = (gate_place.insert(gate), Poller::new(options.idle));
        Ok(Ports { input, poller, gate, pool, outputs: [const { None }; MAX_PEERS + 1] })
    }
}

impl Ports {
    /// Returns an empty burst. Frames move between bursts, the input and the outputs.
    pub fn burst(&self) -> Burst<'static> {
        self.pool.burst()
    }

    /// Returns the index of the peer named `name` (without a name: of the first peer that the manifest lists), once the peer is ready.
    ///
    /// # Errors
    /// [`Error::NoPeer`], [`Error::PeerGone`], [`Error::PeerQuarantined`], and [`Error::Silence`] if the peer does not come for seconds.
    pub fn wait_for(&self, name: Option<&'static str>) -> Result<PeerIdx, Error> {
        crate::connect::wait_for_peer(self.gate, name)
    }

    /// Call this after each poll of [`Ports::input`] that is to save processor time, with the number of frames that the poll brought. After
    /// some polls that brought none the VNF pauses between two of them, and then sleeps: until the device tells of a frame, and at most for so
    /// long as [`Options::idle`] says. Whether it slept.
    pub fn idle(&mut self, vnf: &mut Vnf, received: usize) -> bool {
        match self.poller.polled(received) {
            Next::Poll => false,
            Next::Sleep(at_most) => self.input.sleep(vnf, at_most),
        }
    }

    /// Returns the state of `peer` at this moment. See: [`Gate::peer_state`].
    pub fn state(&self, peer: PeerIdx) -> PeerState {
        self.gate.peer_state(peer)
    }

    /// Returns the port to `peer`. A port to a peer that the directory does not have is never ready.
    pub fn to(&mut self, peer: PeerIdx) -> &mut PeerPort<'static> {
        let gate = self.gate;
        self.outputs[peer.get().min(MAX_PEERS)].get_or_insert_with(|| PeerPort::new(gate, peer))
    }

    /// Sends what `peer` takes of `burst`, and returns how many frames were delivered. Frames that found a full ring, a peer that is away for a
    /// while, or an ended call stay in `burst`, in order. A frame that this peer never takes is dropped, and counted by its cause in the
    /// statistics of the port.
    ///
    /// # Errors
    /// [`Error::PeerGone`]: the host took the peer away for good. [`Error::PeerQuarantined`]: the peer broke the protocol. [`Error::Send`]: the
    /// gate refuses every frame.
    pub fn send(&mut self, peer: PeerIdx, burst: &mut Burst<'_>) -> Result<usize, Error> {
        match self.state(peer) {
            PeerState::Ready => Ok(deliver(self.to(peer), burst)?),
            PeerState::Revoked => Err(Error::PeerGone),
            PeerState::Quarantined => Err(Error::PeerQuarantined),
            PeerState::Absent | PeerState::Draining => Ok(0),
        }
    }

    /// Receives bursts, shows each to `work` once, and sends to `peer` what `work` leaves in them, until the host takes the peer away. A burst is
    /// sent before the next is received, so the VNF that sends here waits while the peer has no room.
    ///
    /// # Errors
    /// As [`Ports::send`], but for [`Error::PeerGone`]; [`Error::Receive`].
    pub fn relay(&mut self, peer: PeerIdx, mut work: impl FnMut(&mut Burst<'static>)) -> Result<(), Error> {
        let mut burst = self.burst();
        loop {
            if burst.is_empty() {
                self.input.rx_burst(&mut burst, BURST_SIZE)?;
                work(&mut burst);
            }
            match self.send(peer, &mut burst) {
                Ok(0) => yield_now(),
                Ok(_) => {}
                Err(Error::PeerGone) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives bursts, shows each frame to `choose`, and sends the frame to the peer that `choose` returns, until the host took all peers of
    /// `outputs` away. `None`, or a peer that is not in `outputs`, drops the frame. The burst of an output is its queue: a peer that has no room
    /// delays no other peer's frames. Returns how many frames were lost because their queue was full or their peer gone or in quarantine.
    ///
    /// # Errors
    /// [`Error::Receive`], [`Error::Send`].
    pub fn distribute(
        &mut self,
        outputs: &mut [(PeerIdx, Burst<'static>)],
        mut choose: impl FnMut(&mut FrameMut<'_>) -> Option<PeerIdx>,
    ) -> Result<usize, Error> {
        let (mut arrived, mut lost) = (self.burst(), 0);
        loop {
            let received = self.input.rx_burst(&mut arrived, BURST_SIZE)?;
            while let Ok(mut frame) = arrived.frame_mut(0) {
                let peer = choose(&mut frame);
                let output = outputs.iter_mut().find(|(output, _)| Some(*output) == peer);
                if output.is_none_or(|(_, queue)| arrived.move_to(0, queue).inspect_err(|_| lost += 1).is_err()) {
                    arrived.remove(0);
                }
            }
            if !self.flush(outputs, &mut lost)? {
                return Ok(lost);
            }
            if received == 0 {
                yield_now();
            }
        }
    }

    /// Sends what the peers take; returns whether there is a peer left.
    fn flush(&mut self, outputs: &mut [(PeerIdx, Burst<'static>)], lost: &mut usize) -> Result<bool, Error> {
        let mut left = false;
        for (peer, queue) in outputs {
            let sent = self.send(*peer, queue);
            left |= sent != Err(Error::PeerGone);
            if let Err(Error::PeerGone | Error::PeerQuarantined) = sent {
                *lost += queue.len();
                queue.clear();
            } else {
                sent?;
            }
        }
        Ok(left)
    }

    /// Returns what was sent to `peer`, and what was not and why.
    pub fn stats_of(&self, peer: PeerIdx) -> TxStats {
        self.outputs[peer.get().min(MAX_PEERS)].as_ref().map_or(TxStats::NONE, Transmit::tx_stats)
    }

    /// Returns the gate, for what is not here: the peers' entries, all peers in one call ([`sluice::Scatter`]).
    pub fn gate(&self) -> &'static Gate {
        self.gate
    }

    /// Returns the pool that all bursts of [`Ports::burst`] are of.
    pub fn pool(&self) -> &'static Mempool<'static> {
        self.pool
    }
}

/// Sends what `output` takes of `burst`, and returns how many frames were delivered. Frames that found a full ring, a peer that is away for a while,
/// or an ended call stay in `burst`, in order. A frame that `output` never takes is dropped, and counted by its cause in the statistics of `output`.
///
/// # Errors
/// The [`TxError`]s that no frame of the burst is to blame for.
pub fn deliver(output: &mut impl Transmit, burst: &mut Burst<'_>) -> Result<usize, TxError> {
    let offered = burst.len();
    let mut dropped = 0;
    loop {
        match output.tx_burst(burst, burst.len()) {
            Err(error) if error.refused().is_some_and(|index| burst.remove(index)) => dropped += 1,
            // Nothing is wrong with the frames: the ring is full, the call was ended, or the peer is away for a while.
            Ok(_) | Err(TxError::Aborted | TxError::PeerNotReady { .. } | TxError::PeerFault { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(offered - dropped - burst.len())
}

#[cfg(test)]
mod tests;
