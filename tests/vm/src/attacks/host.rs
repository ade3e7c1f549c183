//! The host, as an attack asks it: calls through its stub in the slot, and hypercalls, without what the libraries check
//! before. A host that an image reaches has to be ready for each of them at any time, and answers by a status.
#![allow(unsafe_code, reason = "the gate and hypercalls, whose caller promises a Sluice host and ring 0")]

use sluice::Status;
use sluice_abi::Gpa;
use sluice_abi::call::Outcome;
use sluice_abi::run::Run;
use sluice_gate::hypercall;

/// Calls through the stub, as a VNF does, with the first `count` packets of the request block, and with interrupts as
/// they are. The stub must be in the slot: `alias.rs` puts another page there.
#[inline(always)]
pub fn through_stub(count: u64) -> Outcome {
    // SAFETY: this image runs nowhere but in ring 0 under a Sluice host, and calls with the gate `isolated`.
    unsafe { sluice_gate::isolated(count) }
}

/// Registers the page `request` as the request block, with the CR3 that is in force now.
pub fn register(request: Gpa) -> Status {
    // SAFETY: this runs under a Sluice host, in ring 0. The window only reads the page, which the libraries had
    // registered before.
    unsafe { hypercall::register(request) }
}

/// Adds `run`, which the host has to refuse, to packet memory.
pub fn add_run(run: Run) -> Status {
    // SAFETY: this runs under a Sluice host, in ring 0. What is refused is nobody's to write.
    unsafe { hypercall::add_run(run) }
}

/// Removes the run of `len` bytes at `offset` of packet memory.
pub fn remove_run(offset: u64, len: u64) -> Status {
    // SAFETY: this runs under a Sluice host, in ring 0. Without a run, windows reach less memory, not more.
    unsafe { hypercall::remove_run(offset, len) }
}

/// Makes one exit from home, at which the monitor looks at the EPTP list.
pub fn exit_once() {
    // SAFETY: this runs under a Sluice host, in ring 0, and prints no byte.
    unsafe { hypercall::console(Gpa(0), 0) };
}
