//! Building Sluice and running it: on an emulated machine (the monitor in Bochs) or as plain processes (the launcher).
//!
//! The program `cargo xtask` and the system tests use it. Reading order: [`Scenario`] (what to run), [`Host`] (on
//! what), [`Report`] (what came of it).
#![forbid(unsafe_code)]

#[macro_use]
mod output;

pub mod artifacts;
pub mod audit;
pub mod bench;
mod bochs;
mod chain;
mod channel;
pub mod check;
pub mod demo;
mod embedded;
pub mod fuzz;
mod host;
pub mod image;
mod iso;
pub mod latency;
pub mod miri;
pub mod mutate;
pub mod peers;
pub mod progress;
pub mod qemu;
mod rings;
pub mod run;
mod scenario;
mod switch;
pub mod test;
pub mod tools;
mod vms;

pub use host::Host;
pub use scenario::Scenario;
pub use sluice_report::{Report, Row};
