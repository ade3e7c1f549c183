//! Breakpoints in the debug registers. See: SDM volume 3, "Debug Registers".
#![allow(unsafe_code, reason = "debug registers")]

use core::arch::asm;

/// The value of DR7 without breakpoints: only the bit that is always set.
const NONE: u64 = 1 << 10;
/// The bit of DR7 by which breakpoint 0 is on.
const FIRST: u64 = 0b11;
/// The bits of DR7 by which all four breakpoints are on.
const ALL: u64 = 0xff;

/// The access that makes breakpoint 0 hit. The numbers are those of its R/W and LEN fields.
#[derive(Clone, Copy)]
#[repr(u64)]
pub enum On {
    /// The instruction at the address is about to execute.
    Execution = 0b0000,
    /// One of the eight bytes at the address is written.
    Write = 0b1001,
    /// One of the eight bytes at the address is read or written.
    Access = 0b1011,
}

/// Sets breakpoint 0.
pub fn set(address: u64, on: On) {
    load(address, NONE | FIRST | (on as u64) << 16);
}

/// Sets a breakpoint on execution at `address` and at each of the three bytes behind it.
pub fn set_four(address: u64) {
    // SAFETY: as in `load`, which sets the first.
    unsafe {
        asm!(
            "mov dr1, {}", "mov dr2, {}", "mov dr3, {}",
            in(reg) address + 1, in(reg) address + 2, in(reg) address + 3,
            options(nomem, nostack)
        );
    }
    load(address, NONE | ALL);
}

/// Removes all breakpoints.
pub fn clear() {
    load(0, NONE);
}

/// Makes access to the debug registers a debug exception from now on (DR7.GD).
pub fn guard() {
    load(0, NONE | 1 << 13);
}

/// Returns DR6, and sets it as a reset does.
pub fn take_status() -> u64 {
    const RESET: u64 = 0xffff_0ff0;
    let value;
    // SAFETY: this is ring 0, and nothing depends on the register.
    unsafe { asm!("mov {}, dr6", "mov dr6, {}", out(reg) value, in(reg) RESET, options(nomem, nostack)) };
    value
}

fn load(address: u64, control: u64) {
    // SAFETY: this is ring 0. A breakpoint raises an exception, which is a landing (see `leap.rs`).
    unsafe { asm!("mov dr0, {}", "mov dr7, {}", in(reg) address, in(reg) control, options(nomem, nostack)) };
}
