//! The host's side of in-VM switches: for each, a flow table that its VM reads, and the full switch that decides about
//! the frames for which the table has no entry.
//!
//! ```text
//! frame without an entry ─► FlowSwitches ─► full switch: learning, or flows of a file, or one outside
//!                                              │ flows of key, mask and actions
//!                                              ▼
//!                                           FlowTable ─► the VM's table, epochs, lease, statistics
//! ```
//!
//! Both hosts use this crate: monitor and launcher. Time is a number that they have: ticks of the time-stamp counter in
//! the monitor, nanoseconds in the launcher. Reading order: [`FlowSwitches`], [`FlowTable`], `learning`, `rules`,
//! `file`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod file;
mod learning;
mod rules;
mod switches;
mod table;

pub use file::FlowFileError;
pub use rules::Rules;
pub use switches::{FlowSetup, FlowSwitches, Outgoing, SetupError, SwitchPorts, Windows};
pub use table::{Flow, FlowTable, Limits, Turn};
