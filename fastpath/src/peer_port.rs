//! Ports that send into peers' receive queues.

use crate::{Burst, Gate, Transmit, TxError, TxStats};
use core::slice::from_mut;
use sluice_abi::PeerIdx;
use sluice_abi::call::{Code, Outcome, Packet, Status};
use sluice_abi::directory::MAX_PEERS;

/// A port to one peer. What the peer sends arrives at this VM's own [`crate::VirtioNet`].
pub struct PeerPort<'g> {
    gate: &'g Gate,
    peer: PeerIdx,
    stats: TxStats,
}

impl<'g> PeerPort<'g> {
    /// Returns a port to `peer`. A peer that the directory does not have is never ready.
    pub fn new(gate: &'g Gate, peer: PeerIdx) -> Self {
        Self { gate, peer, stats: TxStats::NONE }
    }
}

impl Transmit for PeerPort<'_> {
    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        let packets = burst.packets_to(self.peer, most);
        if packets.is_empty() {
            return Ok(0);
        }
        let sent = packets.len();
        let outcome = self.gate.send(packets);
        if outcome.status != Status::OK || sent != burst.len() {
            return settle(self.gate, burst, sent, &outcome, from_mut(&mut self.stats));
        }
        self.stats.packets += sent as u64;
        self.stats.bytes += burst.bytes();
        burst.clear();
        Ok(sent)
    }

    fn tx_stats(&self) -> TxStats {
        self.stats
    }
}

/// A port to all peers at once: each frame names its peer ([`crate::FrameMut::set_peer`]), and one crossing serves them
/// all.
pub struct Scatter<'g> {
    gate: &'g Gate,
    /// Counters of each peer, by [`PeerIdx`]. The last are for peers that the directory does not have.
    stats: [TxStats; MAX_PEERS + 1],
}

impl<'g> Scatter<'g> {
    /// Returns a port to all peers of `gate`.
    pub fn new(gate: &'g Gate) -> Self {
        Self { gate, stats: [TxStats::NONE; MAX_PEERS + 1] }
    }

    /// Returns the counters of the frames that named `peer`.
    pub fn stats_of(&self, peer: PeerIdx) -> TxStats {
        self.stats[..MAX_PEERS].get(peer.get()).copied().unwrap_or(self.stats[MAX_PEERS])
    }
}

impl Transmit for Scatter<'_> {
    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        let packets = burst.packets_to_all(most);
        if packets.is_empty() {
            return Ok(0);
        }
        let (sent, outcome) = (packets.len(), self.gate.send(packets));
        settle(self.gate, burst, sent, &outcome, &mut self.stats)
    }

    fn tx_stats(&self) -> TxStats {
        let mut all = TxStats::NONE;
        self.stats.iter().for_each(|&stats| all += stats);
        all
    }
}

/// Counts what became of the first `offered` frames of `burst`, and drops those that were delivered. A status that
/// names a packet is about one of those that stay. `stats` has counters by peer, and the last are for all others.
#[inline(never)]
fn settle(
    gate: &Gate,
    burst: &mut Burst<'_>,
    offered: usize,
    outcome: &Outcome,
    stats: &mut [TxStats],
) -> Result<usize, TxError> {
    let whole = outcome.status == Status::OK;
    let named = outcome.status.packet().map(usize::from);
    for (index, packet) in burst.packets().iter().enumerate().take(offered) {
        let last = stats.len() - 1;
        let stats = &mut stats[packet.peer.get().min(last)];
        if whole || outcome.accepted.contains(index) {
            stats.packets += 1;
            stats.bytes += u64::from(packet.len);
        } else {
            *left(stats, outcome.status, *packet, named == Some(index)) += 1;
        }
    }
    if whole {
        burst.drop_front(offered);
        return Ok(offered);
    }
    let packet = named.and_then(|index| burst.packets().get(index).filter(|_| index < offered).copied());
    let sent = burst.settle(offered, &outcome.accepted);
    if outcome.status.code() == Code::Full {
        return Ok(sent);
    }
    gate.doubt(burst.packets());
    let index = packet.and(named).and_then(|index| outcome.accepted.place_of_refused(index));
    Err(TxError::new(outcome.status, packet.zip(index)))
}

/// Returns the counter for `packet`, which a call with `status` left. A status about a peer is about each of that
/// peer's packets; a status about a wrong packet is about the one that is `named`.
fn left(stats: &mut TxStats, status: Status, packet: Packet, named: bool) -> &mut u64 {
    match status.code() {
        Code::TooLong if named => &mut stats.too_long,
        Code::BadRequest if named && packet.has_hdr() => &mut stats.not_negotiated,
        Code::BadRequest if named => &mut stats.bad_frame,
        Code::PeerFault if packet.peer == status.peer() => &mut stats.peer_fault,
        Code::PeerNotReady if packet.peer == status.peer() => &mut stats.not_ready,
        Code::Aborted => &mut stats.aborted,
        Code::NotRegistered | Code::Unknown | Code::Ok => &mut stats.refused,
        _ => &mut stats.full,
    }
}
