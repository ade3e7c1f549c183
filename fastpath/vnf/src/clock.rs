//! The processor's tick counter: what a VNF tells time by, without asking its host.

pub use crate::machine::{counter, now};

/// What the tick counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// One tick per instruction: an emulator.
    Instructions,
    /// Cycles of a clock; so many a second where that is known.
    Cycles(Option<u64>),
}

impl Counter {
    /// Returns what a tick is.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Cycles(_) => "cycles",
        }
    }
}
