//! What executes in the peer's view: the device side of its receive queue.
//!
//! Built twice from the same source: as the window image (`src/bin/window.rs`, linked by linker/window.ld, run in the window
//! view) and as this library (the gates `Direct`, `Guarded` and `Hypercall`, the host, the tests).
//!
//! Reading order: [`transmit`] (a call), [`Window`] (what outlives a call), [`DeviceQueue`] (one ring), [`Regions`] (whose memory).
//!
//! Everything a peer can write is read once, through `sluice_memory`; what is wrong with it is a [`sluice_abi::call::Clause`]
//! blamed on that peer. Nothing here allocates, logs, keeps statics, panics or calls through a pointer (rule G12).
#![no_std]

mod chain;
mod queue;
mod regions;
mod transmit;
mod window;

pub use queue::{DeviceQueue, Enqueue};
pub use regions::Regions;
pub use transmit::transmit;
pub use window::Window;
