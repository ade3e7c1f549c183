//! The x87 registers.
#![allow(unsafe_code, reason = "an image uses no x87 registers of its own")]

use core::arch::asm;

/// The memory that FXSAVE writes. See: SDM volume 1, table "Layout of the 64-bit Mode FXSAVE64 Map".
#[repr(C, align(16))]
pub struct Saved([u8; 512]);

/// A control word that no reset leaves: all exceptions masked, and results rounded down.
pub const CONTROL: u16 = 0x077f;

/// Fills every register, and sets the control word.
pub fn mark() {
    let control = CONTROL;
    // SAFETY: code of this image keeps nothing in these registers, and all exceptions are masked.
    unsafe { asm!("fninit", "fldcw [{0}]", ".rept 8", "fldpi", ".endr", in(reg) &raw const control, options(nostack)) };
}

impl Saved {
    /// Returns the state of the registers.
    pub fn now() -> Self {
        let mut saved = Self([0; 512]);
        // SAFETY: the memory has 512 bytes and is aligned to 16.
        unsafe { asm!("fxsave64 [{0}]", in(reg) &raw mut saved, options(nostack, preserves_flags)) };
        saved
    }

    /// Returns the control word.
    pub fn control(&self) -> u16 {
        u16::from_le_bytes([self.0[0], self.0[1]])
    }

    /// Returns whether nothing is in the registers, nor in status, tags and last instruction.
    pub fn is_clear(&self) -> bool {
        self.0[2..24].iter().chain(&self.0[32..160]).all(|&byte| byte == 0)
    }
}
