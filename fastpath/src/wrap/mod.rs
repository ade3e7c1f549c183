//! Ports around a port: each implements [`crate::Receive`] and [`crate::Transmit`] as far as the port inside does, so
//! that a VNF does not notice them. None allocates or reads a clock of its own: where time matters, the caller gives a
//! function that returns ticks.

mod capture;
mod counter;
mod faults;
mod limiter;

pub use capture::{PcapWriter, Sink};
pub use counter::{Counter, Counts};
pub use faults::{FaultInjector, Faults};
pub use limiter::{Rate, RateLimiter};
