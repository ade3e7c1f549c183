//! The vector registers, all of them.
#![allow(unsafe_code, reason = "an image uses no vector registers of its own")]

use core::arch::asm;

/// Fills every register with `word`.
pub fn mark(word: u64) {
    let words = [word; 4];
    // SAFETY: the host has AVX switched on, and code of this image keeps nothing in these registers.
    unsafe {
        asm!(
            ".irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu ymm\\number, [{0}]",
            ".endr",
            in(reg) words.as_ptr(),
            options(nostack, preserves_flags)
        );
    }
}

/// Returns the values of all registers.
pub fn read() -> [[u64; 4]; 16] {
    let mut words = [[0; 4]; 16];
    // SAFETY: as in `mark`; there is room for sixteen registers.
    unsafe {
        asm!(
            ".irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu [{0} + 32 * \\number], ymm\\number",
            ".endr",
            in(reg) words.as_mut_ptr(),
            options(nostack, preserves_flags)
        );
    }
    words
}
