//! Frames that wait because their peer's ring is full.

use super::SwitchStats;
use sluice::{Burst, Gate, Mempool, PeerIdx, PeerState, Scatter, Transmit, TxError};
use sluice_abi::directory::MAX_PEERS;

/// Largest number of frames that wait for one peer, so that no peer keeps others from waiting.
const MOST: u16 = 64;

/// The frames that wait, of entries of one epoch. Those for one peer are in order.
pub struct Queue<'p> {
    frames: Burst<'p>,
    /// Number of frames that wait for each peer.
    counts: [u16; MAX_PEERS],
    /// The epoch that the frames are of; `None` after the lease.
    epoch: Option<u64>,
}

impl<'p> Queue<'p> {
    pub fn new(pool: &'p Mempool<'p>) -> Self {
        Self { frames: pool.burst(), counts: [0; MAX_PEERS], epoch: None }
    }

    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Fails for a burst of another pool.
    pub fn is_of_pool(&mut self, burst: &mut Burst<'_>) -> Result<(), TxError> {
        self.frames.append(burst, 0).map(drop).map_err(|_| TxError::ForeignPool)
    }

    /// Begins a burst of `epoch`: frames of another one are dropped.
    pub fn begin(&mut self, epoch: Option<u64>, stats: &mut SwitchStats) {
        if self.epoch != epoch || epoch.is_none() {
            stats.stale += self.frames.len() as u64;
            self.frames.clear();
            self.counts = [0; MAX_PEERS];
        }
        self.epoch = epoch;
    }

    /// Returns whether a frame to `peer` has to wait behind others.
    #[inline(always)]
    pub fn holds(&self, peer: PeerIdx) -> bool {
        !self.frames.is_empty() && self.counts.get(peer.get()).is_some_and(|count| *count > 0)
    }

    /// Takes frame `index` of `burst`, unless its peer is away or too many wait for it: then it is dropped.
    pub fn push(&mut self, burst: &mut Burst<'_>, index: usize, stats: &mut SwitchStats) {
        let Some(count) = burst.frame(index).ok().and_then(|frame| self.counts.get_mut(frame.peer().get())) else {
            burst.remove(index);
            return;
        };
        if *count < MOST && burst.move_to(index, &mut self.frames).is_ok() {
            *count += 1;
        } else {
            stats.full += 1;
            burst.remove(index);
        }
    }

    /// Takes a copy of frame `index` of `burst` for `peer`.
    pub fn push_copy(&mut self, burst: &Burst<'_>, index: usize, peer: PeerIdx, stats: &mut SwitchStats) {
        let Some(count) = self.counts.get_mut(peer.get()) else { return };
        let room = *count < MOST && burst.duplicate(index, &mut self.frames).is_ok();
        if room && self.frames.set_peer(self.frames.len() - 1, peer).is_ok() {
            *count += 1;
        } else {
            stats.full += 1;
        }
    }

    /// Sends what waits, as far as the peers take it.
    pub fn send(&mut self, peers: &mut Scatter<'_>, gate: &Gate, stats: &mut SwitchStats) {
        if self.frames.is_empty() {
            return;
        }
        let count = self.frames.len();
        offer(peers, &mut self.frames, count, stats);
        let mut counts = [0; MAX_PEERS];
        self.frames.retain(|frame| {
            let peer = frame.peer();
            let is_ready = gate.peer_state(peer) == PeerState::Ready;
            stats.not_ready += u64::from(!is_ready);
            if let Some(count) = counts.get_mut(peer.get()) {
                *count += u16::from(is_ready);
            }
            is_ready
        });
        self.counts = counts;
    }

    /// Sends the first `count` frames of `burst`. Those that find a full ring wait.
    pub fn deliver(
        &mut self,
        peers: &mut Scatter<'_>,
        gate: &Gate,
        burst: &mut Burst<'_>,
        count: usize,
        stats: &mut SwitchStats,
    ) {
        for _ in 0..offer(peers, burst, count, stats) {
            let is_ready = burst.frame(0).is_ok_and(|frame| gate.peer_state(frame.peer()) == PeerState::Ready);
            if is_ready {
                self.push(burst, 0, stats);
            } else {
                stats.not_ready += 1;
                burst.remove(0);
            }
        }
    }
}

/// Sends the first `count` frames of `burst`, and drops those that their peer never takes. Returns how many of them
/// stay, at the front.
fn offer(peers: &mut Scatter<'_>, burst: &mut Burst<'_>, mut count: usize, stats: &mut SwitchStats) -> usize {
    while count > 0 {
        let before = burst.len();
        let sent = peers.tx_burst(burst, count);
        let taken = before - burst.len();
        (stats.forwarded, count) = (stats.forwarded + taken as u64, count - taken);
        match sent.err().and_then(|error| error.refused()) {
            Some(index) if index < count && burst.remove(index) => {
                stats.refused += 1;
                count -= 1;
            }
            _ => break,
        }
    }
    count
}
