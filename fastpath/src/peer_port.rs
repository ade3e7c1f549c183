//! Ports that send into peers' receive queues.

use crate::{Burst, Gate, Port, PortStats, TxError};
use sluice_abi::PeerIdx;
use sluice_abi::call::{Code, Outcome, Status};

/// The way to one peer. Sends only: what the peer sends arrives at this VM's own [`crate::VirtioNet`].
pub struct PeerPort<'g> {
    gate: &'g Gate,
    peer: PeerIdx,
    stats: PortStats,
}

impl<'g> PeerPort<'g> {
    /// A port to `peer`. An index that no directory has is that of a peer that is never ready.
    pub fn new(gate: &'g Gate, peer: PeerIdx) -> Self {
        Self { gate, peer, stats: PortStats::default() }
    }
}

impl Port for PeerPort<'_> {
    fn rx_burst(&mut self, _: &mut Burst<'_>) -> usize {
        0
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<'_>) -> Result<usize, TxError> {
        let (gate, peer) = (self.gate, self.peer);
        self.stats.transmit(gate, burst, |burst| gate.send(burst.packets_to(peer)))
    }

    fn stats(&self) -> PortStats {
        self.stats
    }
}

/// The way to all peers at once: each frame names its peer ([`Burst::set_peer`]), and one crossing serves them all.
pub struct Scatter<'g> {
    gate: &'g Gate,
    stats: PortStats,
}

impl<'g> Scatter<'g> {
    /// A port to all peers of `gate`.
    pub fn new(gate: &'g Gate) -> Self {
        Self { gate, stats: PortStats::default() }
    }
}

impl Port for Scatter<'_> {
    fn rx_burst(&mut self, _: &mut Burst<'_>) -> usize {
        0
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<'_>) -> Result<usize, TxError> {
        let gate = self.gate;
        self.stats.transmit(gate, burst, |burst| gate.send(burst.packets()))
    }

    fn stats(&self) -> PortStats {
        self.stats
    }
}

impl PortStats {
    #[inline(always)]
    fn transmit<'p>(
        &mut self,
        gate: &Gate,
        burst: &mut Burst<'p>,
        send: impl FnOnce(&mut Burst<'p>) -> Outcome,
    ) -> Result<usize, TxError> {
        if burst.is_empty() {
            return Ok(0);
        }
        let outcome = send(burst);
        if outcome.status != Status::OK {
            return self.settle(gate, burst, &outcome);
        }
        let sent = burst.len();
        self.tx_packets += sent as u64;
        self.tx_bytes += burst.bytes();
        burst.clear();
        Ok(sent)
    }

    /// Of `burst`, some stay. A status that names a packet is about one of those.
    #[cold]
    #[inline(never)]
    fn settle(
        &mut self,
        gate: &Gate,
        burst: &mut Burst<'_>,
        Outcome { status, accepted }: &Outcome,
    ) -> Result<usize, TxError> {
        let (offered, bytes) = (burst.len(), burst.bytes());
        let sent = burst.settle(accepted);
        self.tx_packets += sent as u64;
        self.tx_bytes += bytes - burst.bytes();
        self.tx_partial += u64::from(!burst.is_empty());
        if status.code() == Code::Full {
            return Ok(sent);
        }
        gate.doubt(burst.packets());
        self.tx_errors += 1;
        self.tx_too_long += u64::from(status.code() == Code::TooLong);
        Err(TxError::new(*status, |packet| {
            accepted.place_of_refused(packet.into()).filter(|_| usize::from(packet) < offered)
        }))
    }
}
