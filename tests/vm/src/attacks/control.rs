//! The control registers CR0, CR2 and CR4.
#![allow(unsafe_code, reason = "control registers")]

use core::arch::asm;

/// Returns CR0 as this VM reads it.
pub fn cr0() -> u64 {
    let value;
    // SAFETY: this is ring 0, and only reads a register.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Returns CR4 as this VM reads it.
pub fn cr4() -> u64 {
    let value;
    // SAFETY: this is ring 0, and only reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Returns CR2.
pub fn cr2() -> u64 {
    let value;
    // SAFETY: this is ring 0, and only reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Sets CR4.UMIP to `on`.
pub fn prevent_user_mode_instructions(on: bool) {
    const UMIP: u64 = 1 << 11;
    let value = cr4() & !UMIP | if on { UMIP } else { 0 };
    // SAFETY: this is ring 0. SGDT, SIDT, SLDT, SMSW and STR of programs become #GP, or are allowed.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Changes the bits `mask` of CR0 to `value`. Only TS may be changed: this image uses no registers that it guards.
pub fn set_cr0(mask: u64, value: u64) {
    // SAFETY: this is ring 0, and nothing that this image relies on depends on TS.
    unsafe { asm!("mov cr0, {}", in(reg) cr0() & !mask | value, options(nomem, nostack, preserves_flags)) };
}

/// Lets translations be global. See: SDM volume 3, "Caching Translation Information", "Global Pages".
pub fn allow_global() {
    const PGE: u64 = 1 << 7;
    // SAFETY: this is ring 0, and no translation is wrong for being kept.
    unsafe { asm!("mov cr4, {}", in(reg) cr4() | PGE, options(nomem, nostack, preserves_flags)) };
}
