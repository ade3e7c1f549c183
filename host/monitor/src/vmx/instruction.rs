//! The VMX instructions. See: SDM volume 3, "VMX Instruction Reference".
#![allow(unsafe_code, reason = "privileged instructions; each wrapper says what makes it valid")]

use super::field::Field;
use core::arch::asm;
use sluice_abi::Hpa;

/// A VMX instruction that the processor refused. See: SDM volume 3, "VM Instruction Error Numbers".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmFail(pub &'static str);

macro_rules! with_region {
    ($(#[$doc:meta])* $name:ident, $instruction:literal) => {
        $(#[$doc])*
        pub fn $name(region: Hpa) -> Result<(), VmFail> {
            let failed: u8;
            // SAFETY: the monitor runs at CPL 0; the operand is a live 64-bit variable; the frame named by it belongs to
            // the processor until vmclear or vmxoff, and nobody else writes it.
            unsafe {
                asm!(concat!($instruction, " [{0}]"), "setna {1}", in(reg) &raw const region, out(reg_byte) failed);
            }
            if failed == 0 { Ok(()) } else { Err(VmFail($instruction)) }
        }
    };
}

with_region! {
    /// Enters VMX root operation with the VMXON region `region`.
    vmxon, "vmxon"
}
with_region! {
    /// Writes a VMCS back to its frame and clears its launch state.
    vmclear, "vmclear"
}
with_region! {
    /// Makes a VMCS current.
    vmptrld, "vmptrld"
}

/// Reads a field of the current VMCS; 0 where there is none.
#[inline(always)]
pub fn read(field: Field) -> u64 {
    let value: u64;
    // SAFETY: CPL 0, VMX root; reads nothing but the current VMCS. A refused read leaves the zero that value starts with.
    unsafe {
        asm!("vmread {0}, {1}", inout(reg) 0u64 => value, in(reg) u64::from(field as u32), options(nomem, nostack))
    };
    value
}

/// Writes a field of the current VMCS.
///
/// A refused write means a field that this processor lacks; the next VM entry then fails with its own error number.
#[inline(always)]
pub fn write(field: Field, value: u64) {
    // SAFETY: CPL 0, VMX root; writes nothing but the current VMCS, whose every field is the monitor's to choose. What
    // makes a value safe for the host (its own state fields) is said in vmcs.rs, where those are written.
    unsafe { asm!("vmwrite {1}, {0}", in(reg) value, in(reg) u64::from(field as u32), options(nostack)) };
}

/// Drops every mapping derived from the EPT with pointer `eptp` on this processor. See [`super::ept::Flush`].
pub fn invept(eptp: u64) {
    let descriptor: [u64; 2] = [eptp, 0];
    // SAFETY: CPL 0, VMX root; type 1 is checked by features.rs; the descriptor is live.
    unsafe { asm!("invept {0}, [{1}]", in(reg) 1u64, in(reg) &raw const descriptor, options(nostack)) };
}

/// Drops every linear mapping of VPID `vpid` on this processor (rule G11).
pub fn invvpid(vpid: u16) {
    let descriptor: [u64; 2] = [u64::from(vpid), 0];
    // SAFETY: CPL 0, VMX root; type 1 (single context) is checked by features.rs; the descriptor is live.
    unsafe { asm!("invvpid {0}, [{1}]", in(reg) 1u64, in(reg) &raw const descriptor, options(nostack)) };
}
