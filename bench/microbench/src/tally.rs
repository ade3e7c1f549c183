//! Counts of the frames of one stream: received, lost, doubled, torn, reordered.

use crate::frame::{Header, Kind, Torn};
use core::fmt;

/// Sequence numbers remembered, to tell a frame that comes twice from one that comes late.
const HISTORY: u64 = 4096;
const WORD: u64 = 64;

/// Counts of a stream that should arrive whole and in order.
pub struct Tally {
    /// The number that the next frame should have.
    next: u64,
    /// Bit `n % HISTORY`: number `n` came, for the `HISTORY` numbers before `next`.
    seen: [u64; (HISTORY / WORD) as usize],
    received: u64,
    lost: u64,
    doubled: u64,
    torn: u64,
    reordered: u64,
    finished: bool,
}

impl Tally {
    /// Makes a tally of no frame.
    pub const fn new() -> Self {
        Self {
            next: 0,
            seen: [0; (HISTORY / WORD) as usize],
            received: 0,
            lost: 0,
            doubled: 0,
            torn: 0,
            reordered: 0,
            finished: false,
        }
    }

    /// Takes one frame into account.
    pub fn note(&mut self, frame: Result<Header, Torn>) {
        match frame {
            Ok(Header { kind: Kind::Data, sequence, .. }) => self.data(sequence),
            Ok(Header { kind: Kind::Fin, sequence, .. }) => self.fin(sequence),
            Err(_) => self.torn += 1,
        }
    }

    /// Whether the last frame came.
    pub const fn finished(&self) -> bool {
        self.finished
    }

    /// Whether all that was announced came once, whole and in order.
    pub const fn clean(&self) -> bool {
        self.finished && self.lost == 0 && self.doubled == 0 && self.torn == 0 && self.reordered == 0
    }

    fn data(&mut self, sequence: u64) {
        self.received += 1;
        if sequence >= self.next {
            self.skip_to(sequence);
            self.mark(sequence);
            self.next = sequence.saturating_add(1);
        } else if self.next - sequence > HISTORY || self.is_marked(sequence) {
            self.doubled += 1;
        } else {
            self.mark(sequence);
            self.lost -= 1;
            self.reordered += 1;
        }
    }

    fn fin(&mut self, total: u64) {
        self.skip_to(total.max(self.next));
        self.finished = true;
    }

    /// Counts the numbers from `next` to before `sequence` as lost, until they come late.
    fn skip_to(&mut self, sequence: u64) {
        self.lost += sequence - self.next;
        for missing in self.next..sequence.min(self.next.saturating_add(HISTORY)) {
            self.seen[Self::word(missing)] &= !(1 << (missing % WORD));
        }
        self.next = sequence;
    }

    fn mark(&mut self, sequence: u64) {
        self.seen[Self::word(sequence)] |= 1 << (sequence % WORD);
    }

    fn is_marked(&self, sequence: u64) -> bool {
        self.seen[Self::word(sequence)] >> (sequence % WORD) & 1 == 1
    }

    const fn word(sequence: u64) -> usize {
        (sequence % HISTORY / WORD) as usize
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received {} lost {} doubled {}", self.received, self.lost, self.doubled)?;
        write!(f, " torn {} reordered {}", self.torn, self.reordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64], total: u64) -> String {
        let mut tally = Tally::new();
        let frame = |kind, sequence| Ok(Header { kind, row: 0, sequence });
        numbers.iter().for_each(|&n| tally.note(frame(Kind::Data, n)));
        assert!(!tally.clean(), "not before the end");
        tally.note(frame(Kind::Fin, total));
        assert_eq!(tally.clean(), tally.to_string().ends_with("lost 0 doubled 0 torn 0 reordered 0"));
        tally.to_string()
    }

    #[test]
    fn each_fault_has_its_counter() {
        assert_eq!(of(&[0, 1, 2], 3), "received 3 lost 0 doubled 0 torn 0 reordered 0");
        assert_eq!(of(&[0, 2], 3), "received 2 lost 1 doubled 0 torn 0 reordered 0");
        assert_eq!(of(&[0, 1], 3), "received 2 lost 1 doubled 0 torn 0 reordered 0");
        assert_eq!(of(&[0, 1, 1, 2], 3), "received 4 lost 0 doubled 1 torn 0 reordered 0");
        assert_eq!(of(&[0, 2, 1, 1], 3), "received 4 lost 0 doubled 1 torn 0 reordered 1");
    }

    #[test]
    fn a_gap_longer_than_the_history_is_lost() {
        let numbers: Vec<u64> = (0..5000).chain(20_000..30_000).chain([29_999]).collect();
        assert_eq!(of(&numbers, 30_000), "received 15001 lost 15000 doubled 1 torn 0 reordered 0");
    }

    #[test]
    fn a_torn_frame_is_counted_and_lost() {
        let mut tally = Tally::new();
        tally.note(Err(Torn::Checksum));
        tally.note(Ok(Header { kind: Kind::Fin, row: 0, sequence: 1 }));
        assert_eq!(tally.to_string(), "received 0 lost 1 doubled 0 torn 1 reordered 0");
    }
}
