//! One queue of a peer, from the device side. The driver is the peer, and writes its areas at any time.
//!
//! Reading order: `device.rs` (what a queue offers), `fast.rs` (the loop for common frames), `fill.rs` (all other
//! frames), `split.rs` and `packed.rs` (the formats), `chain.rs` (descriptors followed to their end).

mod chain;
mod device;
mod drain;
mod fast;
mod fill;
mod log;
#[cfg(test)]
mod model;
mod packed;
mod position;
mod respond;
mod split;
#[cfg(test)]
mod tests;

pub use device::DeviceQueue;
pub use drain::Dequeue;
pub(crate) use fast::Target;
pub use fill::Enqueue;
pub use log::DirtyLog;
