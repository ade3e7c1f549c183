//! What the image asks of the host, each by one hypercall.
//!
//! An image runs nowhere but under a Sluice host, in ring 0: [`super::start`] has seen the host's boot information. That is what
//! every call below needs.
#![allow(unsafe_code, reason = "hypercalls; see the module's documentation")]

use sluice_abi::Gpa;
use sluice_abi::call::Status;
use sluice_abi::run::Run;
use sluice_gate::hypercall;

/// Writes `text` to the console; at most a page.
pub fn console(text: &[u8]) -> Status {
    // SAFETY: under a Sluice host. RAM is mapped one to one, so the address is the GPA; the host only reads.
    unsafe { hypercall::console(Gpa(text.as_ptr().addr() as u64), text.len() as u64) }
}

/// Ends the VM.
pub fn exit(code: u64) -> ! {
    // SAFETY: under a Sluice host.
    unsafe { hypercall::exit(code) }
}

/// Gives the CPU away for a turn.
pub fn yield_now() {
    // SAFETY: under a Sluice host. The call knows no failure.
    unsafe { hypercall::yield_now() };
}

/// Registers the request block.
///
/// # Safety
/// The page is this VM's, and nobody makes references to it from now on.
pub unsafe fn register(request: Gpa) -> Status {
    // SAFETY: under a Sluice host; the contract above.
    unsafe { hypercall::register(request) }
}

/// Adds `run` to packet memory.
///
/// # Safety
/// The run is this VM's, and nobody makes references to it from now on.
pub unsafe fn add_run(run: Run) -> Status {
    // SAFETY: under a Sluice host; the contract above.
    unsafe { hypercall::add_run(run) }
}

/// Removes `run` from packet memory.
pub fn remove_run(run: Run) -> Status {
    // SAFETY: under a Sluice host. Nothing is lent any more.
    unsafe { hypercall::remove_run(run.offset, run.len) }
}
