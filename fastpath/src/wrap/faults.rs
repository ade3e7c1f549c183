//! A port that loses, reorders and delays frames, as a bad wire does.

use crate::{Burst, Mempool, Receive, RxError, RxStats, Transmit, TxError, TxStats};
use sluice_abi::call::MAX_BURST;

/// The faults that a [`FaultInjector`] makes, as a number of frames in a million. All other frames pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Frames in a million that are lost.
    pub loss: u32,
    /// Frames in a million that are held back until the others of their burst have passed.
    pub reorder: u32,
    /// Frames in a million that are held back for [`Faults::ticks`].
    pub delay: u32,
    /// Length of a delay, in ticks of the caller's clock.
    pub ticks: u64,
}

/// A port that makes [`Faults`], by a generator with a seed: the same frames in the same calls have the same fate. A
/// frame is lost by decision only, and is counted in `dropped` of the port's counters.
///
/// A frame that is held back is the port's: the frame is no longer in the caller's burst and counts as sent there. A
/// later call delivers it, which may be one with an empty burst.
pub struct FaultInjector<'p, P, C> {
    inner: P,
    clock: C,
    faults: Faults,
    /// State of the generator. See: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
    state: u64,
    received: Held<'p>,
    sent: Held<'p>,
    /// Number of frames at the front of the caller's burst that are to pass.
    decided: usize,
}

/// Frames of one direction that are held back.
struct Held<'p> {
    frames: Burst<'p>,
    /// The tick at which each frame is due.
    due: [u64; MAX_BURST],
    lost: u64,
}

/// The fate of a frame.
enum Fate {
    Passes,
    IsLost,
    IsHeld { due: u64 },
}

impl<'p, P, C: Fn() -> u64> FaultInjector<'p, P, C> {
    /// Returns a port that makes `faults` among the frames of `pool` that pass through `inner`. `clock` returns ticks.
    pub fn new(inner: P, pool: &'p Mempool<'p>, faults: Faults, seed: u64, clock: C) -> Self {
        let held = || Held { frames: pool.burst(), due: [0; MAX_BURST], lost: 0 };
        Self { inner, clock, faults, state: seed, received: held(), sent: held(), decided: 0 }
    }

    /// Returns the numbers of frames that are held back: frames received, and frames to be sent.
    pub const fn held(&self) -> (usize, usize) {
        (self.received.frames.len(), self.sent.frames.len())
    }

    /// Changes the faults from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Returns the port inside. Frames that are held back are lost: see [`FaultInjector::held`].
    pub fn into_inner(self) -> P {
        self.inner
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fate(&mut self, now: u64) -> Fate {
        let Faults { loss, reorder, delay, ticks } = self.faults;
        let drawn = (self.random() % 1_000_000) as u32;
        let (lost, reordered) = (loss, loss.saturating_add(reorder));
        match drawn {
            drawn if drawn < lost => Fate::IsLost,
            drawn if drawn < reordered => Fate::IsHeld { due: now },
            drawn if drawn < reordered.saturating_add(delay) => Fate::IsHeld { due: now.saturating_add(ticks) },
            _ => Fate::Passes,
        }
    }
}

impl Held<'_> {
    /// Carries out `fate` for the frame at `index` of `burst`. Returns whether the frame is no longer in `burst`.
    fn meet(&mut self, fate: Fate, index: usize, burst: &mut Burst<'_>) -> bool {
        match fate {
            Fate::Passes => false,
            Fate::IsLost => {
                self.lost += 1;
                burst.remove(index)
            }
            Fate::IsHeld { due } => {
                let held = burst.move_to(index, &mut self.frames).is_ok();
                if let Some(slot) = self.due.get_mut(self.frames.len().wrapping_sub(1)).filter(|_| held) {
                    *slot = due;
                }
                held
            }
        }
    }

    /// Moves frames that are due, the oldest first, to `into`: at most `most`. Returns the number of frames.
    fn deliver(&mut self, into: &mut Burst<'_>, most: usize, now: u64) -> usize {
        let (mut index, mut moved) = (0, 0);
        while index < self.frames.len() && moved < most {
            if self.due[index] > now || self.frames.move_to(index, into).is_err() {
                index += 1;
                continue;
            }
            self.due.copy_within(index + 1.., index);
            moved += 1;
        }
        moved
    }
}

impl<P: Receive, C: Fn() -> u64> Receive for FaultInjector<'_, P, C> {
    fn rx_burst(&mut self, into: &mut Burst<'_>, most: usize) -> Result<usize, RxError> {
        if !self.received.frames.pool().is(into.pool()) {
            return Err(RxError::ForeignPool);
        }
        let (now, before) = ((self.clock)(), into.len());
        let received = self.inner.rx_burst(into, most);
        let mut index = before;
        while index < into.len() {
            let fate = self.fate(now);
            index += usize::from(!self.received.meet(fate, index, into));
        }
        self.received.deliver(into, most.saturating_sub(into.len() - before), now);
        let passed = into.len() - before;
        if passed > 0 { Ok(passed) } else { received.map(|_| 0) }
    }

    fn rx_stats(&self) -> RxStats {
        RxStats { dropped: self.inner.rx_stats().dropped + self.received.lost, ..self.inner.rx_stats() }
    }
}

impl<P: Transmit, C: Fn() -> u64> Transmit for FaultInjector<'_, P, C> {
    /// Returns the number of frames that are no longer in `burst`. A frame that was held back and that its peer does
    /// not take is put at the end of `burst` again, so that the error can name it. The frame stays held until `burst`
    /// has room for it.
    fn tx_burst(&mut self, burst: &mut Burst<'_>, most: usize) -> Result<usize, TxError> {
        if !self.sent.frames.pool().is(burst.pool()) {
            return Err(TxError::ForeignPool);
        }
        let (now, offered) = ((self.clock)(), burst.len());
        let mut passing = self.decided.min(burst.len());
        let mut left = most.min(burst.len()).saturating_sub(passing);
        while left > 0 {
            let fate = self.fate(now);
            passing += usize::from(!self.sent.meet(fate, passing, burst));
            left -= 1;
        }
        let before = burst.len();
        let sent = self.inner.tx_burst(burst, passing.min(most));
        self.decided = passing - (before - burst.len()).min(passing);
        sent?;
        let gone = offered - burst.len();
        self.send_held(burst, now)?;
        Ok(gone)
    }

    fn tx_stats(&self) -> TxStats {
        TxStats { dropped: self.inner.tx_stats().dropped + self.sent.lost, ..self.inner.tx_stats() }
    }
}

impl<P: Transmit, C: Fn() -> u64> FaultInjector<'_, P, C> {
    /// Sends held frames that are due, one by one, by way of the end of the caller's burst: an error can name them
    /// there.
    fn send_held(&mut self, burst: &mut Burst<'_>, now: u64) -> Result<(), TxError> {
        if self.sent.frames.is_empty() {
            return Ok(());
        }
        let mut due = burst.pool().burst();
        self.sent.deliver(&mut due, MAX_BURST, now);
        let result = if due.is_empty() { Ok(0) } else { self.inner.tx_burst(&mut due, MAX_BURST) };
        let named = match result {
            Err(error) if error.refused().is_some_and(|index| due.move_to(index, burst).is_ok()) => {
                Err(error.at(burst.len() - 1))
            }
            // A full ring, or a peer that is not ready, is reported with the caller's own frames.
            _ => Ok(0),
        };
        while !due.is_empty() {
            self.sent.meet(Fate::IsHeld { due: now }, 0, &mut due);
        }
        named.map(|_| ())
    }
}
