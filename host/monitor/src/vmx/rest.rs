//! Guest state that neither the VMCS nor an XSAVE area holds. VMs that share a processor would find each other's in it.
#![allow(unsafe_code, reason = "debug registers and CR2")]

use crate::platform::msr;
use core::arch::asm;

const KERNEL_GS_BASE: u32 = 0xc000_0102;

/// Such state of one guest. DR7 is in the VMCS, and no breakpoint counts while the monitor runs.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// DR0 to DR3.
    breakpoints: [u64; 4],
    /// DR6.
    debug_status: u64,
    /// CR2.
    page_fault: u64,
    /// What the guest's SWAPGS exchanges with its GS base.
    kernel_gs_base: u64,
}

impl Rest {
    /// State as after a reset. See: SDM volume 3, table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT".
    pub const fn initial() -> Self {
        Self { breakpoints: [0; 4], debug_status: 0xffff_0ff0, page_fault: 0, kernel_gs_base: 0 }
    }

    /// The processor's state.
    pub fn save() -> Self {
        let (a, b, c, d, debug_status, page_fault);
        // SAFETY: CPL 0; reads registers, and DR7's bit 13, which would make that a fault, is clear after an exit.
        unsafe {
            asm!("mov {}, dr0", "mov {}, dr1", "mov {}, dr2", out(reg) a, out(reg) b, out(reg) c, options(nomem, nostack));
            asm!("mov {}, dr3", "mov {}, dr6", "mov {}, cr2", out(reg) d, out(reg) debug_status, out(reg) page_fault, options(nomem, nostack));
        }
        Self { breakpoints: [a, b, c, d], debug_status, page_fault, kernel_gs_base: msr::read(KERNEL_GS_BASE) }
    }

    /// Loads it into the processor.
    pub fn load(&self) {
        let [a, b, c, d] = self.breakpoints;
        // SAFETY: CPL 0; the monitor uses none of these, and each takes back what `save` found there.
        unsafe {
            asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", in(reg) a, in(reg) b, in(reg) c, options(nomem, nostack));
            asm!("mov dr3, {}", "mov dr6, {}", "mov cr2, {}", in(reg) d, in(reg) self.debug_status, in(reg) self.page_fault, options(nomem, nostack));
        }
        msr::write(KERNEL_GS_BASE, self.kernel_gs_base);
    }
}

/// DR6 of the guest that is served.
pub fn debug_status() -> u64 {
    let value;
    // SAFETY: CPL 0; reads a register, and DR7's bit 13, which would make that a fault, is clear after an exit.
    unsafe { asm!("mov {}, dr6", out(reg) value, options(nomem, nostack)) };
    value
}

/// Sets it.
pub fn set_debug_status(value: u64) {
    // SAFETY: CPL 0; the register is the guest's, bits 63:32 are those that it had, and the monitor does not use it.
    unsafe { asm!("mov dr6, {}", in(reg) value, options(nomem, nostack)) };
}

/// CR2 of the guest that is served becomes `address`.
pub fn set_page_fault(address: u64) {
    // SAFETY: CPL 0; the register is the guest's until the monitor itself has a page fault, which ends all.
    unsafe { asm!("mov cr2, {}", in(reg) address, options(nomem, nostack)) };
}
