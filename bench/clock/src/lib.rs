//! What a measuring VNF asks its machine besides what every VNF may: how many exits there were, a timer whose expiries
//! are counted, and how long a call's window is open.
//!
//! Exits and timer are the machine's, not a VNF's: there is one of each, so these are functions. As a Linux process a
//! VNF has no exits and no windows, and its timer is a thread that sleeps. Reading order: [`tick`] (runs the timer),
//! [`Expiries`] (what came of it), [`exits`], [`WindowTimer`]; then [`Row`], which is printed.
#![cfg_attr(target_os = "none", no_std)]

mod expiries;
#[cfg(not(target_os = "none"))]
#[path = "process.rs"]
mod machine;
#[cfg(target_os = "none")]
#[path = "vm/mod.rs"]
mod machine;
mod row;

pub use expiries::{Expiries, Ticker};
pub use machine::{WindowTimer, busy, exits, expire_in, sleep, tick, tick_unit, untimed};
pub use row::{Json, Row};
