//! The three page images of `gate.S`.
#![allow(unsafe_code, reason = "names bytes that the assembler laid out")]

use core::arch::global_asm;
use sluice_abi::map;

global_asm!(
    ".set LIST, {LIST}",
    ".set CONSTANT, {CONSTANT}",
    ".set CONSTANT_WORD, {CONSTANT_WORD}",
    ".set CODE, {CODE}",
    ".set STATE, {STATE}",
    ".set STACK, {STACK}",
    ".set STACK_LEN, {STACK_LEN}",
    include_str!("gate.S"),
    LIST = const map::LIST,
    CONSTANT = const map::CONSTANT,
    CONSTANT_WORD = const map::CONSTANT_WORD,
    CODE = const map::CODE,
    STATE = const map::STATE,
    STACK = const map::STACK,
    STACK_LEN = const map::STACK_LEN,
);

unsafe extern "C" {
    static sluice_stub_page: [u8; 4096];
    static sluice_gate_page: [u8; 4096];
    static sluice_window_page: [u8; 4096];
}

/// Offset in the gate page of its first instruction, behind the stub's VMFUNC. See: `gate.S`.
pub const OPEN: u16 = 0x103;
/// Offset in the stub page of the function that a VM calls. See: `gate.S`.
pub const STUB_ENTRY: u16 = OPEN - 21;
/// Offset in the stub page where the monitor resumes an aborted call: RSP as the caller's VMFUNC had it, RAX the
/// status, R8 to R11 what was accepted, everything else cleared. See: `gate.S`.
pub const STUB_ABORT: u16 = 0x200;
/// Number of instructions of a call of the stub that are executed before the window is armed (up to the first VMFUNC)
/// and after it is disarmed (from behind the disarming store to RET). See: `gate.S`.
pub const STUB_OUTSIDE: u64 = 10 + 13;
/// Offset in the window page of its first instruction. See: `gate.S`.
pub const ENTER: u16 = OPEN + 37;
/// Offset in the window page of what follows the instruction that puts RSP, the caller's until then, aside. See:
/// `gate.S`.
pub const STACK_SAVED: u16 = ENTER + 17;
/// Offset in the gate page of what follows the window: from here on the call has ended. See: `gate.S`.
pub const CLOSE: u16 = 0x1a8;
/// Offset in the stub page of what follows the gate's closing VMFUNC. See: `gate.S`.
pub const RETURN: u16 = CLOSE + 15;

/// The pages that lie at `SLOT_VA + GATE`, by view.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// The page in home.
    pub stub: &'static [u8; 4096],
    /// The page in the gate view.
    pub gate: &'static [u8; 4096],
    /// The page in the window view.
    pub window: &'static [u8; 4096],
}

/// Returns the page images, for a host to copy.
pub fn pages() -> Pages {
    // SAFETY: gate.S fills each symbol's 4,096 bytes, in a read-only section.
    unsafe { Pages { stub: &sluice_stub_page, gate: &sluice_gate_page, window: &sluice_window_page } }
}
