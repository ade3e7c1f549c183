//! The cost of bursts that follow one another without a pause.

use sluice_clock::{Row, exits};
use sluice_vnf::{BURST_SIZE, RX_SIZE, clock};

/// Bursts of a full ring, which are a turn of the hop on its processor.
const BURSTS: usize = RX_SIZE / BURST_SIZE;

/// Ticks and exits from the first burst of each turn to the last, but for the first turn: of taking each burst but the
/// first, and sending each but the last.
pub struct Stretches {
    /// Ticks between two readings of the counter with nothing between.
    empty: u64,
    /// Bursts of this turn so far, and turns.
    bursts: usize,
    turns: u64,
    /// Exits and ticks at the first burst of this turn.
    first: (u64, u64),
    ticks: u64,
    exits: u64,
    packets: u64,
}

impl Stretches {
    pub fn new() -> Self {
        let empty = (0..16).map(|_| clock::now().abs_diff(clock::now())).min().unwrap_or(0);
        Self { empty, bursts: 0, turns: 0, first: (0, 0), ticks: 0, exits: 0, packets: 0 }
    }

    /// Notes that a burst of `count` frames arrived. One that is not whole ends its turn, which does not count.
    #[inline(always)]
    pub fn note(&mut self, count: usize) {
        match self.bursts {
            _ if count != BURST_SIZE => return self.bursts = 0,
            0 => self.first = (exits(), clock::now()),
            LAST => return self.end(),
            _ => {}
        }
        self.bursts += 1;
    }

    /// Ends a turn.
    fn end(&mut self) {
        let (now, (exits_before, before)) = (clock::now(), self.first);
        // The second question is itself an exit, where there are exits.
        let exits = (exits() - exits_before).saturating_sub(1);
        if self.turns > 0 {
            self.ticks += (now - before).saturating_sub(self.empty);
            self.exits += exits;
            self.packets += (LAST * BURST_SIZE) as u64;
        }
        (self.bursts, self.turns) = (0, self.turns + 1);
    }

    /// Returns the row of frames of `frame` bytes that were sent by a gate of kind `gate`.
    pub fn row(&self, gate: &'static str, frame: u16) -> Row {
        let (ticks, exits, packets) = (self.ticks, self.exits, self.packets.max(1));
        Row { gate, burst: BURST_SIZE as u16, frame, packets, counter: clock::counter(), ticks, exits }
    }
}

/// The number of a turn's last burst, from 0.
const LAST: usize = BURSTS - 1;
