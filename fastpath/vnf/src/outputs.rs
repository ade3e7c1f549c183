//! The ports to the peers of a VNF.

use crate::Error;
use crate::machine::yield_now;
use sluice::{
    BURST_SIZE, Burst, FrameMut, Gate, Mempool, PeerIdx, PeerPort, PeerState, Receive, Transmit, TxError, TxStats,
};
use sluice_abi::directory::MAX_PEERS;

/// A port to each peer that a VNF may send to, and the pool that all bursts of the VNF are of.
pub struct Outputs {
    gate: &'static Gate,
    pool: &'static Mempool<'static>,
    /// The ports that were used, by [`PeerIdx`]. The last is for a peer that no directory has.
    ports: [Option<PeerPort<'static>>; MAX_PEERS + 1],
}

impl Outputs {
    pub(crate) fn new(gate: &'static Gate, pool: &'static Mempool<'static>) -> Self {
        Self { gate, pool, ports: [const { None }; MAX_PEERS + 1] }
    }

    /// Returns an empty burst. Frames move between bursts, the input and the outputs.
    pub fn burst(&self) -> Burst<'static> {
        self.pool.burst()
    }

    /// Returns the index of the peer named `name` (without a name: of the first peer that the manifest lists), once the
    /// peer is ready.
    ///
    /// # Errors
    /// [`Error::NoPeer`], [`Error::PeerGone`], [`Error::PeerQuarantined`], and [`Error::Silence`] if the peer does not
    /// come for seconds.
    pub fn wait_for(&self, name: Option<&'static str>) -> Result<PeerIdx, Error> {
        crate::connect::wait_for_peer(self.gate, name)
    }

    /// Returns the state of `peer` at this moment. See: [`Gate::peer_state`].
    pub fn state(&self, peer: PeerIdx) -> PeerState {
        self.gate.peer_state(peer)
    }

    /// Returns the port to `peer`. A port to a peer that the directory does not have is never ready.
    pub fn to(&mut self, peer: PeerIdx) -> &mut PeerPort<'static> {
        let gate = self.gate;
        self.ports[peer.get().min(MAX_PEERS)].get_or_insert_with(|| PeerPort::new(gate, peer))
    }

    /// Sends the frames of `burst` that `peer` takes, and returns the number of frames that were delivered. Frames that
    /// found a full ring, a peer that is away for a while, or an ended call stay in `burst`, in order. A frame that
    /// this peer never takes is dropped, and counted by its cause in the statistics of the port.
    ///
    /// # Errors
    /// [`Error::PeerGone`] if the host took the peer away for good, [`Error::PeerQuarantined`] if the peer broke the
    /// protocol, [`Error::Send`] if the gate refuses every frame.
    pub fn send(&mut self, peer: PeerIdx, burst: &mut Burst<'_>) -> Result<usize, Error> {
        if self.is_ready(peer)? { Ok(deliver(self.to(peer), burst)?) } else { Ok(0) }
    }

    /// Sends as [`Outputs::send`] does, but by `port`, a port of the caller's own to `peer`: a [`PeerPort`] in a
    /// wrapper of [`sluice::wrap`].
    ///
    /// # Errors
    /// As [`Outputs::send`].
    pub fn send_by(&self, port: &mut impl Transmit, peer: PeerIdx, burst: &mut Burst<'_>) -> Result<usize, Error> {
        if self.is_ready(peer)? { Ok(deliver(port, burst)?) } else { Ok(0) }
    }

    /// Returns whether `peer` takes frames now. With an error it never will again.
    fn is_ready(&self, peer: PeerIdx) -> Result<bool, Error> {
        match self.state(peer) {
            PeerState::Ready => Ok(true),
            PeerState::Revoked => Err(Error::PeerGone),
            PeerState::Quarantined => Err(Error::PeerQuarantined),
            PeerState::Absent => Ok(false),
        }
    }

    /// Receives bursts from `input`, shows each to `work` once, and sends to `peer` the frames that `work` leaves,
    /// until the host takes the peer away. A burst is sent before the next is received, so senders to this VNF wait
    /// while the peer has no room.
    ///
    /// # Errors
    /// As [`Outputs::send`] without [`Error::PeerGone`], and [`Error::Receive`].
    pub fn relay_from(
        &mut self,
        input: &mut impl Receive,
        peer: PeerIdx,
        mut work: impl FnMut(&mut Burst<'static>),
    ) -> Result<(), Error> {
        let mut burst = self.burst();
        loop {
            if burst.is_empty() {
                input.rx_burst(&mut burst, BURST_SIZE)?;
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

    /// Receives bursts from `input`, shows each frame to `choose`, and sends the frame to the peer that `choose`
    /// returns, until the host took all peers of `queues` away. `None`, or a peer that is not in `queues`, drops the
    /// frame. The burst beside a peer is its queue: a peer that has no room delays no other peer's frames. Returns the
    /// number of frames that were lost because their queue was full or their peer gone or in quarantine.
    ///
    /// # Errors
    /// [`Error::Receive`], [`Error::Send`].
    pub fn distribute_from(
        &mut self,
        input: &mut impl Receive,
        queues: &mut [(PeerIdx, Burst<'static>)],
        mut choose: impl FnMut(&mut FrameMut<'_>) -> Option<PeerIdx>,
    ) -> Result<usize, Error> {
        let (mut arrived, mut lost) = (self.burst(), 0);
        loop {
            let received = input.rx_burst(&mut arrived, BURST_SIZE)?;
            while let Ok(mut frame) = arrived.frame_mut(0) {
                let peer = choose(&mut frame);
                let output = queues.iter_mut().find(|(output, _)| Some(*output) == peer);
                if output.is_none_or(|(_, queue)| arrived.move_to(0, queue).inspect_err(|_| lost += 1).is_err()) {
                    arrived.remove(0);
                }
            }
            if !self.flush(queues, &mut lost)? {
                return Ok(lost);
            }
            if received == 0 {
                yield_now();
            }
        }
    }

    /// Sends the frames that the peers take. Returns whether a peer is left.
    fn flush(&mut self, queues: &mut [(PeerIdx, Burst<'static>)], lost: &mut usize) -> Result<bool, Error> {
        let mut left = false;
        for (peer, queue) in queues {
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

    /// Returns the counters of frames to `peer`.
    pub fn stats_of(&self, peer: PeerIdx) -> TxStats {
        self.ports[peer.get().min(MAX_PEERS)].as_ref().map_or(TxStats::NONE, Transmit::tx_stats)
    }

    /// Returns the gate, for the peers' entries and for calls to all peers at once ([`sluice::Scatter`]).
    pub fn gate(&self) -> &'static Gate {
        self.gate
    }

    /// Returns the pool that all bursts of [`Outputs::burst`] are of.
    pub fn pool(&self) -> &'static Mempool<'static> {
        self.pool
    }
}

/// Sends the frames of `burst` that `output` takes, and returns the number of frames that were delivered. Frames that
/// found a full ring, a peer that is away for a while, or an ended call stay in `burst`, in order. A frame that
/// `output` never takes is dropped, and counted by its cause in the statistics of `output`.
///
/// # Errors
/// The [`TxError`]s that are not about one frame.
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
