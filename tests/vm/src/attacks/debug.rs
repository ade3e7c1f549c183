//! Breakpoints in the debug registers. See: SDM volume 3, "Debug Registers".

use super::cpu;
use x86_64::registers::debug::{DebugAddressRegister, Dr0, Dr1, Dr2, Dr3, Dr6, Dr7};

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
    Dr1::write(address + 1);
    Dr2::write(address + 2);
    Dr3::write(address + 3);
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
    let value = Dr6::read_raw();
    cpu::set_dr6(RESET);
    value
}

/// Sets the address of breakpoint 0 and what all of them do. An exception that one raises is a landing (`leap.rs`).
fn load(address: u64, control: u64) {
    Dr0::write(address);
    Dr7::write_raw(control);
}
