//! FS and GS bases. See: SDM volume 3, "Fast Access to FS and GS Base Addresses" for the MSRs.
#![allow(unsafe_code, reason = "WRMSR")]

use core::arch::asm;

const FS_BASE: u32 = 0xc000_0100;

/// Sets both.
pub fn set_bases(base: u64) {
    for msr in [FS_BASE, FS_BASE + 1] {
        // SAFETY: ring 0; this image uses neither segment.
        unsafe {
            asm!("wrmsr", in("ecx") msr, in("eax") base as u32, in("edx") (base >> 32) as u32, options(nomem, nostack))
        };
    }
}
