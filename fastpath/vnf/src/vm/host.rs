//! What the image asks of the host, each by one hypercall.
//!
//! An image runs nowhere but under a Sluice host, in ring 0: [`super::start`] has seen the host's boot information. That is what
//! every call below needs.
#![allow(unsafe_code, reason = "hypercalls; see the module's documentation")]

use sluice_abi::Gpa;
use sluice_abi::call::Status;
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

/// Registers packet memory and request block.
///
/// # Safety
/// Both are this VM's, and nobody makes references to them from now on.
pub unsafe fn register(packets: Gpa, len: u64, request: Gpa) -> Status {
    // SAFETY: under a Sluice host; the contract above.
    unsafe { hypercall::register(packets, len, request) }
}
