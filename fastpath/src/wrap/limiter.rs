//! A port with a limited rate.

use crate::{Burst, Receive, RxError, RxStats, Transmit, TxError, TxStats};

/// A rate: `bytes` in each `ticks`, and at most `depth` at once after a pause. Bytes of a frame are counted from the
/// destination address to the end of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Number of bytes in each [`Rate::ticks`].
    pub bytes: u64,
    /// Number of ticks of the caller's clock; 0 counts as 1.
    pub ticks: u64,
    /// Number of bytes that may pass at once. The last frame may go beyond, and the next frame waits for longer then.
    pub depth: u64,
}

/// A port with a token bucket. Frames beyond the rate stay in the caller's burst or in the receive queue.
#[derive(Debug)]
pub struct RateLimiter<P, C> {
    inner: P,
    clock: C,
    received: Bucket,
    sent: Bucket,
}

/// A token bucket. A byte takes [`Rate::ticks`] tokens, so rounding loses none.
#[derive(Debug)]
struct Bucket {
    /// Number of tokens that come in with each tick.
    bytes: i128,
    /// Number of tokens that a byte takes.
    ticks: i128,
    depth: i128,
    /// Number of tokens; below 0 after a frame that went beyond.
    tokens: i128,
    /// The tick up to which tokens were added.
    last: u64,
}

impl<P, C: Fn() -> u64> RateLimiter<P, C> {
    /// Returns a port that limits each direction of `inner` to `rate`. `clock` returns ticks that never go back.
    pub fn new(inner: P, rate: Rate, clock: C) -> Self {
        let now = clock();
        Self { inner, received: Bucket::new(rate, now), sent: Bucket::new(rate, now), clock }
    }

    /// Returns the port inside.
    pub fn into_inner(self) -> P {
        self.inner
    }
}

impl Bucket {
    fn new(rate: Rate, now: u64) -> Self {
        let ticks = i128::from(rate.ticks.max(1));
        let depth = i128::from(rate.depth).saturating_mul(ticks);
        Self { bytes: rate.bytes.into(), ticks, depth, tokens: depth, last: now }
    }

    /// Adds the tokens that came in since the last call.
    fn fill(&mut self, now: u64) {
        let new = i128::from(now.saturating_sub(self.last)).saturating_mul(self.bytes);
        self.tokens = self.tokens.saturating_add(new).min(self.depth);
        self.last = now.max(self.last);
    }

    fn take(&mut self, bytes: u64) {
        self.tokens -= self.cost(bytes);
    }

    fn cost(&self, bytes: u64) -> i128 {
        self.ticks.saturating_mul(bytes.into())
    }
}

impl<P: Receive, C: Fn() -> u64> Receive for RateLimiter<P, C> {
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        self.received.fill((self.clock)());
        let mut received = 0;
        while received < most && self.received.tokens > 0 {
            let before = into.bytes();
            match self.inner.rx_burst(into, 1) {
                Ok(0) => break,
                Ok(one) => received += one,
                Err(error) if received == 0 => return Err(error),
                Err(_) => break,
            }
            self.received.take(into.bytes() - before);
        }
        Ok(received)
    }

    fn rx_stats(&self) -> RxStats {
        self.inner.rx_stats()
    }
}

impl<P: Transmit, C: Fn() -> u64> Transmit for RateLimiter<P, C> {
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        self.sent.fill((self.clock)());
        let mut left = self.sent.tokens;
        let passes = |len: u16| {
            let passes = left > 0;
            left -= self.sent.cost(len.into());
            passes
        };
        let count = burst.frames().take(most).map(|frame| frame.len()).map(passes).take_while(|&passes| passes).count();
        let before = burst.bytes();
        let sent = self.inner.tx_burst(burst, count);
        self.sent.take(before.saturating_sub(burst.bytes()));
        sent
    }

    fn tx_stats(&self) -> TxStats {
        self.inner.tx_stats()
    }
}
