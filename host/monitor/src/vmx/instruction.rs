//! The instructions that make, enter and switch guests: VMX and XSAVE. See: SDM volume 3, "VMX Instruction Reference".
//!
//! `fake.rs` stands for this file in unit tests.
#![allow(unsafe_code, reason = "privileged instructions")]

use super::field::{Field, HostField};
use super::registers::Registers;
use crate::platform::cpu::XCR0;
use core::arch::{asm, global_asm};
use sluice_abi::Hpa;

/// A VMX instruction that the processor refused. See: SDM volume 3, "VM Instruction Error Numbers".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmFail(pub &'static str);

macro_rules! with_region {
    ($(#[$doc:meta])* $name:ident, $instruction:literal) => {
        $(#[$doc])*
        pub fn $name(region: Hpa) -> Result<(), VmFail> {
            let failed: u8;
            // SAFETY: the monitor runs at CPL 0; the operand is a live 64-bit variable; the frame named by it belongs
            // to the processor until vmclear or vmxoff, and nobody else writes it.
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

/// Returns a field of the current VMCS; 0 if the processor has no such field.
#[inline(always)]
pub fn read(field: Field) -> u64 {
    let value: u64;
    // SAFETY: CPL 0, VMX root; reads nothing but the current VMCS. A refused read leaves the zero that value starts
    // with.
    unsafe {
        asm!("vmread {0}, {1}", inout(reg) 0u64 => value, in(reg) u64::from(field as u32), options(nomem, nostack))
    };
    value
}

/// Writes a field of the current VMCS.
///
/// The processor refuses a field that it lacks; the next VM entry then fails with an error number of its own.
#[inline(always)]
pub fn write(field: Field, value: u64) {
    vmwrite(field as u32, value);
}

/// Writes a field of the host state of the current VMCS. The value must be one that this processor can go on with: the
/// next exit loads it.
pub(super) fn write_host(field: HostField, value: u64) {
    vmwrite(field as u32, value);
}

#[inline(always)]
fn vmwrite(field: u32, value: u64) {
    // SAFETY: CPL 0, VMX root; writes nothing but the current VMCS. Fields of a guest change the guest alone, and
    // vmcs.rs, which writes the others, says why their values are valid.
    unsafe { asm!("vmwrite {1}, {0}", in(reg) value, in(reg) u64::from(field), options(nostack)) };
}

/// Drops every mapping that this processor derived from the EPT with pointer `eptp`. See [`super::ept::Flush`].
pub fn invept(eptp: u64) {
    let descriptor: [u64; 2] = [eptp, 0];
    // SAFETY: CPL 0, VMX root; type 1 is checked by features.rs; the descriptor is live.
    unsafe { asm!("invept {0}, [{1}]", in(reg) 1u64, in(reg) &raw const descriptor, options(nostack)) };
}

/// Drops every linear mapping of VPID `vpid` that this processor holds (rule G11).
pub fn invvpid(vpid: u16) {
    let descriptor: [u64; 2] = [u64::from(vpid), 0];
    // SAFETY: CPL 0, VMX root; type 1 (single context) is checked by features.rs; the descriptor is live.
    unsafe { asm!("invvpid {0}, [{1}]", in(reg) 1u64, in(reg) &raw const descriptor, options(nostack)) };
}

global_asm!(include_str!("enter.S"), HOST_RSP = const HostField::Rsp as u32, HOST_RIP = const HostField::Rip as u32);

unsafe extern "sysv64" {
    fn vmx_enter(registers: *mut Registers, launched: u8) -> u8;
}

/// Runs the guest of the current VMCS until its next exit. An error means that the processor refused the entry.
pub fn enter(registers: &mut Registers, launched: bool) -> Result<(), VmFail> {
    // SAFETY: the current VMCS was written by vmcs.rs: host state is this processor's own, and the guest can touch only
    // what its EPT maps. enter.S keeps every callee-saved register.
    let refused = unsafe { vmx_enter(registers, u8::from(launched)) };
    if refused == 0 { Ok(()) } else { Err(VmFail("VM entry")) }
}

/// The x87, SSE and AVX state of a guest. The monitor itself uses none of these registers.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Xsave([u8; Self::LEN]);

impl Xsave {
    /// Length in bytes of the standard form with that state. See: SDM volume 1, "Standard Format".
    pub const LEN: usize = 832;

    /// Returns the state after a reset, with all SSE exceptions masked.
    pub const fn initial() -> Self {
        const MXCSR: usize = 24;
        let mut area = [0; Self::LEN];
        (area[MXCSR], area[MXCSR + 1]) = (0x80, 0x1f);
        Self(area)
    }

    /// Saves the processor's state into the area.
    pub fn save(&mut self) {
        let (low, high) = XCR0;
        // SAFETY: as many bytes as that state takes, 64-byte aligned; CR4.OSXSAVE and XCR0 are set by vmcs::enable.
        unsafe { asm!("xsave64 [{0}]", in(reg) self.0.as_mut_ptr(), in("eax") low, in("edx") high, options(nostack)) };
    }

    /// Loads the processor's state from the area.
    pub fn load(&self) {
        let (low, high) = XCR0;
        // SAFETY: as in save; only initial and save write the area, so no reserved bit is set.
        unsafe {
            asm!("xrstor64 [{0}]", in(reg) self.0.as_ptr(), in("eax") low, in("edx") high, options(nostack, readonly))
        };
    }
}

/// Clears the x87 and vector registers of the guest that exited. The control words stay: a call preserves them, as any
/// function does.
pub fn clear_vectors() {
    const X87: u32 = 1;
    static INITIAL: Xsave = Xsave::initial();
    let mut control = 0u16;
    // SAFETY: XSAVE and AVX are switched on by vmcs::enable, and the area's header says that x87 state is as after a
    // reset. The monitor is built for a target that keeps nothing in these registers. The control word is a live
    // variable, and FLDCW takes any.
    unsafe {
        asm!(
            "fnstcw [{control}]", "xrstor64 [{initial}]", "fldcw [{control}]", "vzeroall",
            control = in(reg) &raw mut control,
            initial = in(reg) INITIAL.0.as_ptr(),
            in("eax") X87,
            in("edx") 0,
            options(nostack)
        );
    }
}
