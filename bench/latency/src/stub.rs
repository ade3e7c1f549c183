//! A call past the API: what of it the window is open for.
#![allow(unsafe_code, reason = "calls the stub")]

use core::arch::asm;
use sluice_gate::{STUB_ENTRY, STUB_OUTSIDE};
use sluice_vnf::abi::map;
use sluice_vnf::{Status, TxError};

/// Instructions between the two readings of the counter that are not the stub's, and the second reading.
const AROUND: u64 = 4;

/// Sends the first `count` packets of the request block, which are those of the last call, once more through the gate
/// `isolated`: instructions from the store that arms the window to the one that disarms it, both included.
pub fn open(count: u16) -> Result<u64, TxError> {
    let stub = map::SLOT_VA + map::GATE + u64::from(STUB_ENTRY);
    let (status, ticks): (u64, u64);
    // SAFETY: under a Sluice host with this gate, in ring 0, as `Access::new` was promised for the same gate. The
    // stub is an ordinary function, which keeps RBX, RBP and R12 to R15.
    unsafe {
        asm!(
            "rdtsc",
            "mov r12d, eax",
            "call r13",
            "mov r13, rax",
            "rdtsc",
            "sub eax, r12d",
            inout("rdi") u64::from(count) => _,
            inout("r13") stub => status,
            out("r12") _,
            out("rax") ticks,
            clobber_abi("sysv64"),
        );
    }
    match Status(status) {
        Status::OK => Ok(ticks - AROUND - STUB_OUTSIDE),
        status => Err(TxError::Unknown(status)),
    }
}
