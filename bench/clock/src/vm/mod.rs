//! The clock of a VM: its exits, as the host counts them, its local APIC's timer, and how long a call's window is open.

mod cpu;
mod timer;

pub use cpu::{WindowTimer, exits, halt as sleep};
pub use timer::{expire_in, rest as untimed};

use crate::{Expiries, Ticker};
use sluice_vnf::clock;

/// Returns for how many nanoseconds this machine has had a processor: no VM is told.
pub fn busy() -> Option<u64> {
    None
}

/// Calls `meanwhile` again and again until the timer has expired as often as `ticker` says, and returns how long each
/// expiry took to reach its handler; `None` if this host has no timer. Once per vnf.
pub fn tick<E>(ticker: Ticker, mut meanwhile: impl FnMut() -> Result<(), E>) -> Result<Option<&'static Expiries>, E> {
    let Some(running) = timer::start(ticker) else { return Ok(None) };
    while running.expiries.count() < ticker.count {
        meanwhile()?;
    }
    Ok(Some(running.stop()))
}

/// Returns what [`tick`] measures in: ticks of the processor's counter.
pub fn tick_unit() -> &'static str {
    clock::counter().unit()
}
