//! Model-specific registers.
#![allow(unsafe_code, reason = "WRMSR")]

use core::arch::asm;

/// Writes `value` to register `msr`: the VM's timer, or a segment base.
pub fn write(msr: u32, value: u64) {
    // SAFETY: this is ring 0, and this image does not use the timer otherwise, nor FS and GS.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nomem, nostack));
    }
}
