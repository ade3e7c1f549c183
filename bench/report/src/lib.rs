//! What runs and benchmarks print, read and shown.
//!
//! | module | contents |
//! |---|---|
//! | `report` | [`Report`]: what a host and its VMs printed, taken apart |
//! | `outcome` | [`Outcome`]: a report as the user of a run sees it: consoles by VM, or one JSON object |
//! | `rows` | [`Row`] and [`RingRow`]: measured rows |
//! | [`table`], [`plot`] | rows as text, and as a picture |
//! | [`Counters`] | what is said of in-VM switches and service chains: tables, and chains as text and pictures |
//! | [`caption`] | how figures were taken, in words |
//! | [`latency`] | the same for single calls, expiries and wake-ups |
//! | [`chain`] | the same for hops of a service chain |
//! | [`channel`] | the same for packets through a channel |
//! | [`switch`] | the same for the flow cache |
//! | [`vms`] | the same for hops between VMs |
//! | `machine` | [`cpu`]: the processor that figures were taken on |
#![forbid(unsafe_code)]

pub mod caption;
pub mod chain;
pub mod channel;
mod counters;
pub mod latency;
mod machine;
mod outcome;
pub mod plot;
mod report;
mod rows;
pub mod switch;
pub mod table;
pub mod vms;

pub use counters::Counters;
pub use machine::cpu;
pub use outcome::{Outcome, RunHost};
pub use report::{Report, is_piece};
pub use rows::{IMIX, RingRow, Row, frame_name};
