//! VMCALL: one function per [`Hypercall`].
#![allow(unsafe_code, reason = "VMCALL")]

use core::arch::asm;
use sluice_abi::Gpa;
use sluice_abi::call::{Accepted, Hypercall, Outcome, Status};
use sluice_abi::run::Run;

/// # Safety
/// The VM runs under a Sluice host, at CPL 0; memory that the call lets the host read or write is the VM's to give.
#[inline(always)]
unsafe fn call(number: Hypercall, a: u64, b: u64, c: u64) -> Outcome {
    let (status, w0, w1, w2, w3): (u64, u64, u64, u64, u64);
    // SAFETY: the caller's contract; the host changes no other register.
    unsafe {
        asm!(
            "vmcall",
            inout("rax") number as u64 => status,
            in("rdi") a, in("rsi") b, in("rdx") c,
            out("r8") w0, out("r9") w1, out("r10") w2, out("r11") w3,
            options(nostack),
        );
    }
    Outcome { status: Status(status), accepted: Accepted([w0, w1, w2, w3]) }
}

/// Ends the VM with exit code `code`.
///
/// # Safety
/// The VM runs under a Sluice host, at CPL 0.
pub unsafe fn exit(code: u64) -> ! {
    loop {
        // SAFETY: the caller's contract. It doesn't return; the loop tells the compiler so.
        unsafe { call(Hypercall::Exit, code, 0, 0) };
    }
}

/// Writes the `len` bytes of text at `text` to the console; at most one page.
///
/// # Safety
/// The VM runs under a Sluice host, at CPL 0.
pub unsafe fn console(text: Gpa, len: u64) -> Status {
    // SAFETY: the caller's contract.
    unsafe { call(Hypercall::Console, text.0, len, 0) }.status
}

/// Gives the CPU away until it is this VM's turn again.
///
/// # Safety
/// The VM runs under a Sluice host, at CPL 0.
pub unsafe fn yield_now() -> Status {
    // SAFETY: the caller's contract.
    unsafe { call(Hypercall::Yield, 0, 0, 0) }.status
}

/// Registers the request block for this vCPU, with the CR3 in force.
///
/// # Safety
/// The VM runs under a Sluice host, at CPL 0. The window reads the page from now on.
pub unsafe fn register(request: Gpa) -> Status {
    // SAFETY: the caller's contract.
    unsafe { call(Hypercall::Register, request.0, 0, 0) }.status
}

/// Adds `run` to packet memory.
///
/// # Safety
/// The VM runs under a Sluice host, at CPL 0. From now on this VM's window reads the run, and the windows of VMs that may send to this one write it.
pub unsafe fn add_run(run: Run) -> Status {
    // SAFETY: the caller's contract.
    unsafe { call(Hypercall::AddRun, run.gpa.0, run.len, run.offset) }.status
}

/// Removes the run of `len` bytes at `offset` of packet memory.
///
/// # Safety
/// The VM runs under a Sluice host, at CPL 0.
pub unsafe fn remove_run(offset: u64, len: u64) -> Status {
    // SAFETY: the caller's contract.
    unsafe { call(Hypercall::RemoveRun, offset, len, 0) }.status
}

/// Sends the first `count` packets of the request block: the gate `Hypercall`.
///
/// # Safety
/// The VM runs under a Sluice host with that gate, at CPL 0.
#[inline(always)]
pub unsafe fn transmit(count: u64) -> Outcome {
    // SAFETY: the caller's contract.
    unsafe { call(Hypercall::Transmit, count, 0, 0) }
}

/// Fills the [`sluice_abi::call::ExitCounts`] at `counts`.
///
/// # Safety
/// The VM runs under a Sluice host, at CPL 0. `counts` has room and may be overwritten.
pub unsafe fn exit_counts(counts: Gpa) -> Status {
    // SAFETY: the caller's contract.
    unsafe { call(Hypercall::ExitCounts, counts.0, 0, 0) }.status
}
