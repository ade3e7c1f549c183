//! Moving bytes that somebody else may be changing.
//!
//! # Why in assembly
//! A plain loop becomes a call to a library `memcpy`, which the window does not have (rule G12) and which would be free to read
//! a byte twice. Volatile accesses must be aligned, and frames are not. No vector registers: the window would have to
//! save and scrub them, and a guest can make their use fault.
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

const WORD: usize = size_of::<u64>();
const LINE: usize = 64;

/// Copies `len` bytes, each read once and written once but for the last 64, which may be written twice.
///
/// # Safety
/// `to` is valid for writes and `from` for reads of `len` bytes.
#[inline(always)]
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract; each access starts at 0 or later and ends at `len` or before.
    unsafe {
        if len < LINE {
            return copy_short(to, from, len);
        }
        let last = len - LINE;
        let mut at = 0;
        while at < last {
            line(to.add(at), from.add(at));
            at += LINE;
        }
        line(to.add(last), from.add(last));
    }
}

/// Fewer than [`LINE`] bytes.
///
/// # Safety
/// As [`copy`].
#[cold]
#[inline(never)]
unsafe fn copy_short(to: *mut u8, from: *const u8, len: usize) {
    let mut at = 0;
    // SAFETY: the caller's contract; each access ends at `len` or before.
    unsafe {
        while len - at >= WORD {
            store64(to.add(at), load64(from.add(at)));
            at += WORD;
        }
        while at < len {
            to.add(at).write_volatile(from.add(at).read_volatile());
            at += 1;
        }
    }
}

/// # Safety
/// `to` is valid for writes and `from` for reads of [`LINE`] bytes.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn line(to: *mut u8, from: *const u8) {
    // SAFETY: the caller's contract: eight words from 0 to 64.
    unsafe {
        core::arch::asm!(
            ".irp at, 0, 8, 16, 24, 32, 40, 48, 56",
            "mov {word}, qword ptr [{from} + \\at]",
            "mov qword ptr [{to} + \\at], {word}",
            ".endr",
            word = out(reg) _,
            from = in(reg) from,
            to = in(reg) to,
            options(nostack, preserves_flags)
        );
    }
}

/// # Safety
/// `at` is valid for reads of 8 bytes, of any alignment.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn load64(at: *const u8) -> u64 {
    let word;
    // SAFETY: the caller's contract.
    unsafe {
        core::arch::asm!("mov {}, qword ptr [{}]", out(reg) word, in(reg) at, options(nostack, preserves_flags, readonly))
    };
    word
}

/// # Safety
/// `at` is valid for writes of 8 bytes, of any alignment.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn store64(at: *mut u8, word: u64) {
    // SAFETY: the caller's contract.
    unsafe { core::arch::asm!("mov qword ptr [{}], {}", in(reg) at, in(reg) word, options(nostack, preserves_flags)) };
}

/// # Safety
/// `at` is valid for writes of 4 bytes, of any alignment.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn store32(at: *mut u8, word: u32) {
    // SAFETY: the caller's contract.
    unsafe {
        core::arch::asm!("mov dword ptr [{}], {:e}", in(reg) at, in(reg) word, options(nostack, preserves_flags))
    };
}

/// `value`, or 0 where it is above `most`, without a branch to guess. In assembly, as the compiler would drop a comparison that
/// was already made.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn zero_if_above(mut value: u64, most: u64) -> u64 {
    // SAFETY: two instructions on registers.
    unsafe {
        core::arch::asm!(
            "cmp {value}, {most}",
            "cmova {value}, {zero}",
            value = inout(reg) value,
            most = in(reg) most,
            zero = in(reg) 0u64,
            options(pure, nomem, nostack)
        );
    }
    value
}

/// The same for Miri and other processors, where bytes are moved one at a time and nothing is guessed.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod portable {
    pub(crate) unsafe fn line(to: *mut u8, from: *const u8) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, super::LINE) };
    }

    pub(crate) unsafe fn load64(at: *const u8) -> u64 {
        // SAFETY: the caller's contract.
        unsafe { at.cast::<u64>().read_unaligned() }
    }

    pub(crate) unsafe fn store64(at: *mut u8, word: u64) {
        // SAFETY: the caller's contract.
        unsafe { at.cast::<u64>().write_unaligned(word) };
    }

    pub(crate) unsafe fn store32(at: *mut u8, word: u32) {
        // SAFETY: the caller's contract.
        unsafe { at.cast::<u32>().write_unaligned(word) };
    }

    pub(crate) fn zero_if_above(value: u64, most: u64) -> u64 {
        if value > most { 0 } else { value }
    }
}
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) use portable::{line, load64, store32, store64, zero_if_above};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_above_becomes_zero() {
        assert_eq!((zero_if_above(5, 5), zero_if_above(6, 5), zero_if_above(u64::MAX, 0)), (5, 0, 0));
    }
}
