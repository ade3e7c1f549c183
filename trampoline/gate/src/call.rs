//! Crossing, from the VM's side.
#![allow(unsafe_code, reason = "VMFUNC, and a call to a page of the host's")]

use crate::STUB_ENTRY;
use core::arch::asm;
use sluice_abi::call::{Accepted, Outcome, Status};
use sluice_abi::map;

/// Sends the first `count` packets of the request block through the isolated gate.
///
/// # Safety
/// The VM runs under a Sluice host with the gate `Isolated`, at CPL 0, with the sluice slot mapped at [`map::SLOT_VA`].
#[inline(always)]
pub unsafe fn isolated(count: u64) -> Outcome {
    let stub = map::SLOT_VA + map::GATE + u64::from(STUB_ENTRY);
    let (status, a, b, c, d): (u64, u64, u64, u64, u64);
    // SAFETY: the stub is an ordinary function; the host promises its registers and that it touches no memory of ours but
    // the stack, the request block and packet memory.
    unsafe {
        asm!(
            "call {stub}",
            stub = in(reg) stub,
            inout("rdi") count => _,
            out("rax") status,
            out("r8") a, out("r9") b, out("r10") c, out("r11") d,
            clobber_abi("sysv64"),
        );
    }
    Outcome { status: Status(status), accepted: Accepted([a, b, c, d]) }
}

/// Runs `work` in the guarded view, where the peers' memory is mapped.
///
/// An interrupt handler that runs meanwhile sees the guarded view too: mask interrupts, or see to it that none touches a peer.
///
/// # Safety
/// The VM runs under a Sluice host with the gate `Guarded`.
#[inline(always)]
pub unsafe fn guarded<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the guarded view is home plus the peers' memory: nothing of ours disappears or moves.
    unsafe { switch_view(1) };
    let result = work();
    // SAFETY: as above, back.
    unsafe { switch_view(0) };
    result
}

/// VMFUNC leaf 0. See: SDM volume 3, "EPTP Switching".
///
/// Section `.sluice.vmfunc`, which is not loaded, lists where these are: an audit of an image tells them from bytes that only look so.
#[inline(always)]
unsafe fn switch_view(index: u32) {
    // SAFETY: the caller's contract. Not `nomem`: the peers' memory appears and disappears.
    unsafe {
        asm!(
            "2: vmfunc",
            ".pushsection .sluice.vmfunc",
            ".quad 2b",
            ".popsection",
            in("eax") 0,
            in("ecx") index,
            options(nostack, preserves_flags)
        )
    };
}
