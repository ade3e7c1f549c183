//! Bytes through general registers.
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

use super::LINE;
use crate::word::{load64, store64};

const WORD: usize = size_of::<u64>();
/// Bytes from which on the string instruction is the faster way to move words: `cargo xtask bench rings`, frames of 512 and 1,024.
const LONG: usize = 768;

/// # Safety
/// As [`super::sealed::Lanes::copy`].
#[inline(never)]
pub(super) unsafe fn copy_words(to: *mut u8, from: *const u8, len: usize) {
    let mut at = 0;
    // SAFETY: the caller's contract; each access starts at 0 or later and ends at `len` or before.
    unsafe {
        if len >= LONG {
            copy_string(to, from, len);
        } else if let Some(last) = len.checked_sub(LINE) {
            while at < last {
                line_of_words::<0>(to, at, from, at);
                at += LINE;
            }
            line_of_words::<0>(to, last, from, last);
        } else {
            copy_short(to, from, len);
        }
    }
}

/// Copies `len` bytes by the string instruction. (An emulator that counts instructions counts each of its bytes.)
///
/// # Safety
/// As [`super::sealed::Lanes::copy`].
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn copy_string(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract. The direction flag is clear: the ABI says so, and the gate sees to it.
    unsafe {
        core::arch::asm!("rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags));
    }
}

/// Copies less than a line.
///
/// # Safety
/// As [`super::sealed::Lanes::copy`].
#[inline(always)]
pub(super) unsafe fn copy_short(to: *mut u8, from: *const u8, len: usize) {
    let mut at = 0;
    // SAFETY: the caller's contract; each access starts at 0 or later and ends at `len` or before.
    unsafe {
        if let Some(last) = len.checked_sub(WORD) {
            while at < last {
                store64(to.add(at), load64(from.add(at)));
                at += WORD;
            }
            store64(to.add(last), load64(from.add(last)));
        } else {
            while at < len {
                to.add(at).write_volatile(from.add(at).read_volatile());
                at += 1;
            }
        }
    }
}

/// # Safety
/// As [`super::sealed::Lanes::line`].
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(super) unsafe fn line_of_words<const GAP: usize>(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
    // SAFETY: the caller's contract: eight words from 0 to 64.
    unsafe {
        core::arch::asm!(
            ".irp word, 0, 8, 16, 24, 32, 40, 48, 56",
            "mov {value}, qword ptr [{from} + {from_at} + \\word]",
            "mov qword ptr [{to} + {to_at} + {gap} + \\word], {value}",
            ".endr",
            value = out(reg) _,
            from = in(reg) from,
            from_at = in(reg) from_at,
            to = in(reg) to,
            to_at = in(reg) to_at,
            gap = const GAP,
            options(nostack, preserves_flags)
        );
    }
}

/// The same for Miri and other processors.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod portable {
    pub(in super::super) unsafe fn line_of_words<const GAP: usize>(
        to: *mut u8,
        to_at: usize,
        from: *const u8,
        from_at: usize,
    ) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from.add(from_at), to.add(GAP + to_at), super::LINE) };
    }

    pub(super) unsafe fn copy_string(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, len) };
    }
}
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
use portable::copy_string;
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) use portable::line_of_words;
