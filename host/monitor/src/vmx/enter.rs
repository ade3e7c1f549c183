//! Going into a guest and coming back.
#![allow(unsafe_code, reason = "the one place where a guest runs")]

use super::field::Field;
use super::instruction::VmFail;
pub use super::registers::Registers;
use crate::platform::cpu::XCR0;
use core::arch::{asm, global_asm};

global_asm!(include_str!("enter.S"), HOST_RSP = const Field::HostRsp as u32, HOST_RIP = const Field::HostRip as u32);

unsafe extern "sysv64" {
    fn vmx_enter(registers: *mut Registers, launched: u8) -> u8;
}

/// x87, SSE and AVX state of a guest. The monitor itself uses none.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Xsave([u8; Self::LEN]);

impl Xsave {
    /// Bytes of the standard form with that state. See: SDM volume 1, "Standard Format".
    pub const LEN: usize = 832;

    /// State as after a reset, with all SSE exceptions masked.
    pub const fn initial() -> Self {
        const MXCSR: usize = 24;
        let mut area = [0; Self::LEN];
        (area[MXCSR], area[MXCSR + 1]) = (0x80, 0x1f);
        Self(area)
    }

    /// Saves the processor's state here.
    pub fn save(&mut self) {
        let (low, high) = XCR0;
        // SAFETY: as many bytes as that state takes, 64-byte aligned; CR4.OSXSAVE and XCR0 are set by vmcs::enable.
        unsafe { asm!("xsave64 [{0}]", in(reg) self.0.as_mut_ptr(), in("eax") low, in("edx") high, options(nostack)) };
    }

    /// Loads the processor's state from here.
    pub fn load(&self) {
        let (low, high) = XCR0;
        // SAFETY: as in save; only initial and save write the area, so no reserved bit is set.
        unsafe {
            asm!("xrstor64 [{0}]", in(reg) self.0.as_ptr(), in("eax") low, in("edx") high, options(nostack, readonly))
        };
    }
}

/// Clears the x87 and vector registers of the guest that exited. Its control words stay: a call keeps them, as any function does.
pub fn clear_vectors() {
    const X87: u32 = 1;
    static INITIAL: Xsave = Xsave::initial();
    let mut control = 0u16;
    // SAFETY: XSAVE and AVX are switched on by vmcs::enable, and the area's header says that x87 state is as after a reset; the monitor is
    // built for a target that keeps nothing in these registers. The control word is a live variable, and FLDCW takes any.
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

/// Runs the guest of the current VMCS until its next exit.
pub fn enter(registers: &mut Registers, launched: bool) -> Result<(), VmFail> {
    // SAFETY: the current VMCS was written by vmcs.rs: host state is this processor's own, and the guest can touch only what
    // its EPT maps. enter.S keeps every callee-saved register.
    let refused = unsafe { vmx_enter(registers, u8::from(launched)) };
    if refused == 0 { Ok(()) } else { Err(VmFail("VM entry")) }
}
