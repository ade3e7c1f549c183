//! The rows of the VNF `latency`: single calls, timers that expire under load, and wake-ups.

pub mod plot;
mod rows;
pub mod text;
pub mod wakeups;

pub use rows::{Calls, Expiries, Measured};
