use super::*;
use sluice::{BufferLen, Clause, PacketMemory, PeerSlice};
use sluice_abi::Gpa;

/// A port whose answers a test chooses.
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

fn with_frames(work: impl FnOnce(&mut Burst<'_>)) {
    let memory = PeerSlice::from_mut(vec![0u64; 2048].leak());
    let mut free = [0; 8];
    let memory = PacketMemory::new(Gpa(0), memory).expect("small");
    let pool = Mempool::new(memory, BufferLen::default(), &mut free).expect("room");
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
        let peer = PeerIdx(0);
        let mut deliver = |answers: Vec<_>| (super::deliver(&mut Answers(answers), burst), lens(burst));
        let fault = TxError::PeerFault { peer, clause: Some(Clause::Region), index: 0 };
        for error in [TxError::Aborted, TxError::PeerNotReady { peer, index: 0 }, fault] {
            assert_eq!(deliver(vec![Err(error)]), (Ok(0), vec![60, 61, 62, 63]));
        }
        assert_eq!(deliver(vec![Ok(0)]), (Ok(0), vec![60, 61, 62, 63]));
        let bad = |index| Err(TxError::BadFrame { peer, index });
        assert_eq!(deliver(vec![bad(2), Ok(0)]), (Ok(0), vec![60, 61, 63]));
        let refused = Err(TxError::NotRegistered);
        assert_eq!(deliver(vec![refused]), (Err(TxError::NotRegistered), vec![60, 61, 63]));
        assert_eq!(deliver(vec![bad(1), Ok(1)]), (Ok(1), vec![63]));
        // The loop ends also with an index of no frame.
        assert_eq!(deliver(vec![bad(1)]), (Err(TxError::BadFrame { peer, index: 1 }), vec![63]));
        assert_eq!(deliver(vec![Ok(1)]), (Ok(1), vec![]));
    });
}
