//! The canonical VNF: what arrives is looked at and sent on. Argument: the name of the peer to send to (default: the first).
//!
//! It ends when that peer does for good: one that the host starts again is waited for.
#![cfg_attr(target_os = "none", no_std, no_main)]

use sluice::{Mempool, PeerPort, PeerSlice, Port, RX_SIZE, RingFormat, TxError, VirtioNet};
use sluice_abi::directory::PeerState;
use sluice_runtime::{Error, Machine, println};

sluice_runtime::entry!(run);

fn run(machine: &mut Machine) -> Result<(), Error> {
    let (gate, memory) = machine.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(Error::NoBuffer)?;
    let mut free = [0; 2 * RX_SIZE];
    let pool = Mempool::new(buffers, &mut free);
    let mut input = VirtioNet::start(&mut machine.transport(), queue, &pool, RingFormat::default())?;
    let peer = machine.wait_for_peer(&gate, machine.args().split_whitespace().next())?;
    let mut output = PeerPort::new(&gate, peer);
    let mut seen = Seen::default();

    let mut burst = pool.burst();
    let mut patience = machine.patience();
    loop {
        let before = burst.len();
        input.rx_burst(&mut burst);
        burst.frames().skip(before).for_each(|frame| seen.look(frame));
        match gate.peer_state(peer) {
            PeerState::Ready => patience.renew(),
            PeerState::Revoked | PeerState::Quarantined => break,
            // What arrives meanwhile is kept; when there is room for no more, who sends to us waits, too.
            PeerState::Absent | PeerState::Draining => {
                patience.wait(machine)?;
                continue;
            }
        }
        match output.tx_burst(&mut burst) {
            Ok(sent) if sent > 0 && burst.is_empty() => continue,
            Err(TxError::TooLong { index, .. } | TxError::BadFrame { index }) if burst.remove(index) => continue,
            // Nothing is wrong with what is left: the ring is full, the call was ended, or the peer is away for a moment.
            Ok(_) | Err(TxError::Aborted | TxError::PeerNotReady { .. } | TxError::PeerFault { .. }) => {}
            Err(error) => return Err(Error::Send(error)),
        }
        machine.yield_now();
    }

    let stats = output.stats();
    println!(
        "forwarded {} of {} frames, {} bytes: {seen:?}",
        stats.tx_packets,
        input.stats().rx_packets,
        stats.tx_bytes
    );
    if gate.peer_state(peer) == PeerState::Quarantined { Err(Error::PeerQuarantined) } else { Ok(()) }
}

/// Frames by EtherType. See: IEEE 802 Numbers, "Ethernet Numbers".
#[derive(Debug, Default)]
struct Seen {
    ipv4: u64,
    ipv6: u64,
    arp: u64,
    vlan: u64,
    other: u64,
}

impl Seen {
    fn look(&mut self, frame: PeerSlice<'_>) {
        let counter = match frame.read::<u16>(12).map(u16::from_be) {
            Ok(0x0800) => &mut self.ipv4,
            Ok(0x86dd) => &mut self.ipv6,
            Ok(0x0806) => &mut self.arp,
            Ok(0x8100) => &mut self.vlan,
            _ => &mut self.other,
        };
        *counter += 1;
    }
}
