//! How far a call has come: what decides whether an interrupted call is undone or completed.

use core::sync::atomic::{AtomicU32, Ordering};

/// How far the call in hand has come. The gate's code writes [`Phase::FILLING`] when a call enters, window code writes
/// all others, and the host reads it when it ends a call.
#[repr(transparent)]
pub(crate) struct Phase(AtomicU32);

impl Phase {
    /// Buffers are being filled, or will be. The gate's code stores this number, so it is 0.
    pub const FILLING: u32 = 0;
    /// All packets of the call are accepted and placed; only publishing may be missing.
    pub const WHOLE: u32 = 1;
    /// Some packets are accepted and placed, and the window's state says which; only publishing may be missing.
    pub const PARTIAL: u32 = 2;

    /// Returns the phase of a window that no call has entered.
    pub const fn new() -> Self {
        Self(AtomicU32::new(Self::WHOLE))
    }

    /// Writes `phase`. Whoever sees it sees everything that was written before it.
    #[inline(always)]
    pub fn set(&self, phase: u32) {
        self.0.store(phase, Ordering::Release);
    }

    /// Returns the phase. Only the host asks, while the sender is outside the window.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}
