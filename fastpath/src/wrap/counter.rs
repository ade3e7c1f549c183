//! A port that counts calls, and frames by length.

use crate::{Burst, Receive, RxError, RxStats, Transmit, TxError, TxStats};

/// The counters of a [`Counter`] in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of calls.
    pub calls: u64,
    /// Number of calls that moved no frame.
    pub idle_calls: u64,
    /// Number of frames that were moved, by length: up to 64, 127, 255, 511, 1,023 and 1,518 bytes, and longer ones, as
    /// in RFC 2819, "etherStats". Lengths are without a frame check sequence.
    pub frames: [u64; 7],
}

/// Largest frame lengths of the classes of [`Counts::frames`] but the last, in bytes.
const CLASSES: [u16; 6] = [64, 127, 255, 511, 1023, 1518];

impl Counts {
    fn call<E>(&mut self, moved: &Result<usize, E>) {
        self.calls += 1;
        self.idle_calls += u64::from(!matches!(moved, Ok(1..)));
    }

    /// Returns the counter of frames of `len` bytes.
    fn frame(&mut self, len: u16) -> &mut u64 {
        &mut self.frames[CLASSES.iter().filter(|&&longest| len > longest).count()]
    }
}

/// A port that counts what passes through the port inside.
#[derive(Debug)]
pub struct Counter<P> {
    inner: P,
    received: Counts,
    sent: Counts,
}

impl<P> Counter<P> {
    /// Returns a port that counts the frames of `inner`.
    pub const fn new(inner: P) -> Self {
        let none = Counts { calls: 0, idle_calls: 0, frames: [0; 7] };
        Self { inner, received: none, sent: none }
    }

    /// Returns the counters of frames that were received.
    pub const fn received(&self) -> &Counts {
        &self.received
    }

    /// Returns the counters of frames that were sent.
    pub const fn sent(&self) -> &Counts {
        &self.sent
    }

    /// Returns the port inside.
    pub fn into_inner(self) -> P {
        self.inner
    }
}

impl<P: Receive> Receive for Counter<P> {
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        let before = into.len();
        let received = self.inner.rx_burst(into, most);
        self.received.call(&received);
        into.frames().skip(before).for_each(|frame| *self.received.frame(frame.len()) += 1);
        received
    }

    fn rx_stats(&self) -> RxStats {
        self.inner.rx_stats()
    }
}

impl<P: Transmit> Transmit for Counter<P> {
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        // Each frame counts as sent first. Those that stay are subtracted below.
        burst.frames().for_each(|frame| *self.sent.frame(frame.len()) += 1);
        let sent = self.inner.tx_burst(burst, most);
        for frame in burst.frames() {
            // A frame that the port inside held since before it was counted may have come back.
            let count = self.sent.frame(frame.len());
            *count = count.saturating_sub(1);
        }
        self.sent.call(&sent);
        sent
    }

    fn tx_stats(&self) -> TxStats {
        self.inner.tx_stats()
    }
}
