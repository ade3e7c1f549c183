//! The canonical VNF: what arrives is looked at and sent on. Argument: the name of the peer to send to (default: the first).
//!
//! It ends when that peer does for good: one that the host starts again is waited for.
#![cfg_attr(target_os = "none", no_std, no_main)]

use sluice::{
    BURST_SIZE, BufferLen, Burst, Frame, Mempool, PeerPort, PeerState, RX_SIZE, Receive, RingFormat, Transmit, TxError,
    VirtioNet,
};
use sluice_vnf::{Error, Vnf, println};

sluice_vnf::main!(run);

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let (gate, memory) = vnf.connect()?;
    let (queue, buffers) = memory.split_at(VirtioNet::QUEUE_LEN).ok_or(Error::NoBuffer)?;
    let mut free = [0; 2 * RX_SIZE];
    let pool = Mempool::new(buffers, BufferLen::default(), &mut free)?;
    let mut input = VirtioNet::start(vnf.transport(), queue, &pool, RingFormat::default())?;
    let peer = vnf.wait_for_peer(&gate, vnf.args().split_whitespace().next())?;
    let mut output = PeerPort::new(&gate, peer);
    let mut seen = Seen::default();

    let mut burst = pool.burst();
    let mut patience = vnf.patience();
    let end = loop {
        let before = burst.len();
        input.rx_burst(&mut burst, BURST_SIZE)?;
        burst.frames().skip(before).for_each(|frame| seen.look(frame));
        match gate.peer_state(peer) {
            PeerState::Ready => patience.renew(),
            PeerState::Revoked => break Ok(()),
            PeerState::Quarantined => break Err(Error::PeerQuarantined),
            // What arrives meanwhile is kept; when there is room for no more, who sends to us waits, too.
            PeerState::Absent | PeerState::Draining => {
                patience.wait(vnf)?;
                continue;
            }
        }
        if !send(&mut output, &mut burst).map_err(Error::Send)? {
            vnf.yield_now();
        }
    };

    let stats = output.tx_stats();
    println!("forwarded {} of {} frames, {} bytes: {seen:?}", stats.packets, input.rx_stats().packets, stats.bytes);
    end
}

/// Sends what `output` takes of `burst`, and drops a frame that it never takes: whether to go on at once.
fn send(output: &mut impl Transmit, burst: &mut Burst<'_>) -> Result<bool, TxError> {
    match output.tx_burst(burst, burst.len()) {
        Ok(sent) => Ok(sent > 0 && burst.is_empty()),
        Err(
            TxError::TooLong { index, .. }
            | TxError::BadFrame { index, .. }
            | TxError::OffloadNotNegotiated { index, .. },
        ) => Ok(burst.remove(index)),
        // Nothing is wrong with the frames: the call was ended, or the peer is away for a while.
        Err(TxError::Aborted | TxError::PeerNotReady { .. } | TxError::PeerFault { .. }) => Ok(false),
        Err(error) => Err(error),
    }
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
    fn look(&mut self, frame: Frame<'_>) {
        let counter = match frame.head(12).map(u16::from_be_bytes) {
            Some(0x0800) => &mut self.ipv4,
            Some(0x86dd) => &mut self.ipv6,
            Some(0x0806) => &mut self.arp,
            Some(0x8100) => &mut self.vlan,
            _ => &mut self.other,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice::{Clause, PacketMemory, PeerIdx, PeerSlice, TxStats};
    use sluice_abi::Gpa;

    /// Answers as it was told to.
    struct Answers(Vec<Result<usize, TxError>>);

    impl Transmit for Answers {
        fn tx_burst(&mut self, burst: &mut Burst<'_>, _: usize) -> Result<usize, TxError> {
            let answer = self.0.remove(0);
            burst.drop_front(answer.unwrap_or(0));
            answer
        }

        fn tx_stats(&self) -> TxStats {
            TxStats::NONE
        }
    }

    #[allow(unsafe_code, reason = "makes packet memory")]
    fn with_frames(work: impl FnOnce(&mut Burst<'_>)) {
        let bytes = Box::leak(vec![0u64; 2048].into_boxed_slice());
        // SAFETY: never freed, and only slices lead into it from now on.
        let memory = unsafe { PeerSlice::from_raw(bytes.as_mut_ptr().cast(), 16_384) };
        let mut free = [0; 8];
        let pool = PacketMemory::new(Gpa(0), memory).expect("small");
        let pool = Mempool::new(pool, BufferLen::default(), &mut free).expect("room");
        let mut burst = pool.burst();
        (0..4).for_each(|number| assert!(burst.push(60 + number).is_ok()));
        work(&mut burst);
    }

    fn lens(burst: &Burst<'_>) -> Vec<u16> {
        burst.frames().map(|frame| frame.len()).collect()
    }

    #[test]
    fn only_a_frame_that_is_never_taken_is_dropped() {
        with_frames(|burst| {
            let fault = TxError::PeerFault { peer: PeerIdx(0), clause: Some(Clause::Region), index: 0 };
            for error in [TxError::Aborted, TxError::PeerNotReady { peer: PeerIdx(0), index: 0 }, fault] {
                assert_eq!(
                    (send(&mut Answers(vec![Err(error)]), burst), lens(burst)),
                    (Ok(false), vec![60, 61, 62, 63])
                );
            }
            assert_eq!(send(&mut Answers(vec![Ok(0)]), burst), Ok(false));
            assert_eq!(
                send(&mut Answers(vec![Err(TxError::BadFrame { peer: PeerIdx(0), index: 2 })]), burst),
                Ok(true)
            );
            assert_eq!(lens(burst), [60, 61, 63]);
            assert_eq!(send(&mut Answers(vec![Ok(1)]), burst), Ok(false), "a full ring");
            assert_eq!(send(&mut Answers(vec![Err(TxError::NotRegistered)]), burst), Err(TxError::NotRegistered));
            assert_eq!(lens(burst), [61, 63]);
            assert_eq!((send(&mut Answers(vec![Ok(2)]), burst), burst.len()), (Ok(true), 0));
        });
    }
}
