//! Bursts of frames whose contents do not matter, one call for each.

use crate::Error;
use sluice_vnf::Error::{Frame, Send};
use sluice_vnf::abi::directory::PeerState;
use sluice_vnf::{BufferLen, Burst, Gate, MAX_BURST, Mempool, PeerIdx, PeerPort, RX_SIZE, Transmit, TxError};
use sluice_vnf::{Vnf, clock};

/// Bytes of the frame that says that no more come.
pub const LAST: u16 = 60;

/// Turns that are given away at a time, at most.
const MOST_TURNS: usize = 64;

/// Sends to the first peer.
pub struct PeerSender<'a> {
    pub vnf: &'a Vnf,
    pub gate: &'a Gate,
    port: PeerPort<'a>,
    burst: Burst<'a>,
    /// Frames that the peer got so far: where in its ring the next one goes.
    sent: u64,
    /// Frames since it last had a turn.
    since_turn: usize,
    /// What is given away at a time: more, where the peer runs beside us and was found not to have taken all.
    turns: usize,
    /// Calls that the host ended, as an interrupt waited for them for too long.
    pub aborted: u64,
    /// Ticks between two readings of the counter with nothing between.
    empty: u64,
}

/// A call that took the whole burst.
pub struct Call {
    /// The time from call to return.
    pub ticks: u64,
    /// The burst went over the end of the ring's arrays.
    pub over_the_end: bool,
}

/// Does `work` with a sender to a peer that is ready.
pub fn with_sender(vnf: &mut Vnf, work: impl FnOnce(&mut PeerSender<'_>) -> Result<(), Error>) -> Result<(), Error> {
    let (gate, memory) = vnf.connect()?;
    let peer = vnf.wait_for_peer(&gate, None)?;
    let mut free = [0; MAX_BURST];
    let pool = Mempool::new(memory, BufferLen::default(), &mut free).map_err(sluice_vnf::Error::Pool)?;
    let empty = (0..16).map(|_| clock::now().abs_diff(clock::now())).min().unwrap_or(0);
    let port = PeerPort::new(&gate, peer);
    let burst = pool.burst();
    work(&mut PeerSender { vnf, gate: &gate, port, burst, sent: 0, since_turn: 0, turns: 1, aborted: 0, empty })
}

impl PeerSender<'_> {
    /// Sends one burst; what that took, unless the ring was too full for all of it.
    pub fn call(&mut self, burst: u16, frame: u16) -> Result<Option<Call>, Error> {
        self.make_room(burst);
        for _ in 0..burst {
            self.burst.push(frame).map_err(Frame)?;
        }
        let over_the_end = self.goes_over_the_end(burst);
        let before = clock::now();
        let sent = self.port.tx_burst(&mut self.burst, MAX_BURST);
        let ticks = (clock::now() - before).saturating_sub(self.empty);
        self.note(burst);
        let aborted = self.aborted;
        let whole = self.accepted(sent)? == usize::from(burst);
        if !whole && self.aborted == aborted {
            self.turns = (2 * self.turns).min(MOST_TURNS);
        }
        while !self.burst.is_empty() {
            self.give_turn();
            let sent = self.port.tx_burst(&mut self.burst, MAX_BURST);
            self.accepted(sent)?;
        }
        Ok(whole.then_some(Call { ticks, over_the_end }))
    }

    /// Returns the number of accepted packets. Those that an aborted call left are sent by the next.
    fn accepted(&mut self, sent: Result<usize, TxError>) -> Result<usize, Error> {
        match sent {
            Err(TxError::Aborted) => {
                self.aborted += 1;
                Ok(0)
            }
            sent => Ok(sent.map_err(Send)?),
        }
    }

    /// Gives the processor to the peer unless there is room for `burst` more frames.
    pub fn make_room(&mut self, burst: u16) {
        if self.since_turn + usize::from(burst) > RX_SIZE {
            self.give_turn();
        }
    }

    /// Notes that `burst` frames were sent.
    pub fn note(&mut self, burst: u16) {
        self.sent += u64::from(burst);
        self.since_turn += usize::from(burst);
    }

    /// Whether the next `burst` frames go over the end of the ring's arrays.
    pub fn goes_over_the_end(&self, burst: u16) -> bool {
        self.sent as usize % RX_SIZE + usize::from(burst) > RX_SIZE
    }

    /// Goes to the start of the ring.
    pub fn align(&mut self) -> Result<(), Error> {
        while !self.sent.is_multiple_of(RX_SIZE as u64) {
            self.call(1, LAST + 1)?;
        }
        Ok(())
    }

    fn give_turn(&mut self) {
        sluice_clock::untimed(|| (0..self.turns).for_each(|_| self.vnf.yield_now()));
        self.since_turn = 0;
    }

    /// Tells the peer that no more come, and sees it go.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.call(1, LAST)?;
        let mut patience = self.vnf.patience();
        while self.gate.peer_state(PeerIdx(0)) == PeerState::Ready {
            patience.wait(self.vnf)?;
        }
        let quarantined = self.gate.peer_state(PeerIdx(0)) == PeerState::Quarantined;
        if quarantined { Err(sluice_vnf::Error::PeerQuarantined.into()) } else { Ok(()) }
    }
}
