//! What executes in the peer's view: the device side of its queues.
//!
//! Built twice from the same source: as the window image (`src/bin/window.rs`, linked by window.ld, run in the window
//! view) and as this library (the gates `Direct`, `Guarded` and `Hypercall`, the host, the tests).
//!
//! Reading order: [`transmit`] (a call), [`Window`] (what outlives a call), [`DeviceQueue`] (one ring), [`Regions`] (whose memory).
//!
//! Everything a peer can write is read once, through `sluice_memory`; what is wrong with it is a [`sluice_abi::call::Clause`]
//! blamed on that peer. Nothing here allocates, logs, keeps statics, panics or calls through a pointer (rule G12).
#![cfg_attr(not(test), no_std)]

mod queue;
mod regions;
mod runs;
mod transmit;
mod window;

/// What this ring code was made of. See: [`sluice_abi::build_id`].
pub const BUILD_ID: u64 = match u64::from_str_radix(env!("SLUICE_BUILD_ID"), 16) {
    Ok(id) => id,
    Err(_) => panic!("build.rs writes 16 hexadecimal digits"),
};

pub use queue::{Dequeue, DeviceQueue, DirtyLog, Enqueue};
pub use regions::Regions;
pub use transmit::{tags, transmit};
pub use window::Window;

// The driver side that the tests in tests/ have, for the tests in here, too.
#[cfg(test)]
extern crate self as sluice_inside;
#[cfg(test)]
#[allow(dead_code, missing_docs, unused_imports, reason = "the unit tests need a part of it")]
#[path = "../tests/driver/mod.rs"]
mod driver;
#[cfg(test)]
#[allow(dead_code, missing_docs, unused_imports, reason = "the unit tests need a part of it")]
#[path = "../tests/peer/mod.rs"]
mod peer;
