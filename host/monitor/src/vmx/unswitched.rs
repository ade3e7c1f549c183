//! Guest state that neither the VMCS nor an XSAVE area holds. The monitor switches it, so that VMs on one processor do
//! not see each other's.

use crate::platform::cpu::{self, OwnMsr};
use crate::platform::msr;
use x86_64::registers::control::Cr2;
use x86_64::registers::debug::{DebugAddressRegister, Dr0, Dr1, Dr2, Dr3};

/// The state of one guest that the processor does not switch. DR7 is in the VMCS, and after an exit it enables no
/// breakpoint.
#[derive(Clone, Copy, Debug)]
pub struct UnswitchedState {
    /// DR0 to DR3.
    breakpoints: [u64; 4],
    /// DR6.
    debug_status: u64,
    /// CR2.
    page_fault_address: u64,
    /// IA32_KERNEL_GS_BASE, which SWAPGS exchanges with the GS base.
    kernel_gs_base: u64,
}

impl UnswitchedState {
    /// Returns the state after a reset.
    /// See: SDM volume 3, table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT".
    pub const fn initial() -> Self {
        Self { breakpoints: [0; 4], debug_status: 0xffff_0ff0, page_fault_address: 0, kernel_gs_base: 0 }
    }

    /// Returns the processor's state.
    pub fn save() -> Self {
        Self {
            breakpoints: [Dr0::read(), Dr1::read(), Dr2::read(), Dr3::read()],
            debug_status: cpu::debug_status(),
            page_fault_address: Cr2::read_raw(),
            kernel_gs_base: msr::read(OwnMsr::KernelGsBase as u32),
        }
    }

    /// Loads the state into the processor.
    pub fn load(&self) {
        let [a, b, c, d] = self.breakpoints;
        Dr0::write(a);
        Dr1::write(b);
        Dr2::write(c);
        Dr3::write(d);
        cpu::set_debug_status(self.debug_status);
        cpu::set_page_fault_address(self.page_fault_address);
        msr::write(OwnMsr::KernelGsBase, self.kernel_gs_base);
    }
}
