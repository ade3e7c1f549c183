//! The clock of a VM: its exits, as the host counts them, and its local APIC's timer.

mod idt;
mod timer;

pub use timer::{expire_in, halt as sleep, rest as untimed};

use crate::{Expiries, Ticker};
use sluice_abi::Gpa;
use sluice_abi::call::ExitCounts;
use sluice_gate::hypercall;
use sluice_vnf::clock;
use zerocopy::{FromZeros, IntoBytes};

/// Returns the exits of this VM so far, the one of this call included.
#[allow(unsafe_code, reason = "a hypercall")]
pub fn exits() -> u64 {
    let mut counts = ExitCounts::new_zeroed();
    let at = Gpa(counts.as_mut_bytes().as_mut_ptr().addr() as u64);
    // SAFETY: an image runs nowhere but under a Sluice host, in ring 0. RAM is mapped one to one; `counts` has room,
    // and every bit pattern is valid. A refused call leaves zeros; the host refuses none whose memory is RAM, as the
    // stack is.
    unsafe { hypercall::exit_counts(at) };
    counts.total()
}

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
