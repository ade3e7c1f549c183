//! Moving bytes that somebody else may be changing.
//!
//! # Why in assembly
//! A plain loop becomes a call to a library `memcpy`, which the window does not have (rule G12) and which would be free to read
//! a byte twice. Volatile accesses must be aligned, and frames are not. No vector registers: the window would have to
//! save and scrub them, and a guest can make their use fault.
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

use sluice_abi::net::PLAIN_HDR;

/// [`PLAIN_HDR`] as two words, of which an instruction can hold the second and sign-extend the first.
const PLAIN_LOW: i32 = 0;
const PLAIN_HIGH: u32 = u32::from_le_bytes([PLAIN_HDR[8], PLAIN_HDR[9], PLAIN_HDR[10], PLAIN_HDR[11]]);
const _: () = {
    let mut at = 0;
    while at < 8 {
        assert!(PLAIN_HDR[at] == 0);
        at += 1;
    }
};

const WORD: usize = size_of::<u64>();
const LINE: usize = 64;

/// Copies `len` bytes to `GAP` bytes behind `to`. Each is read once and written once, but for the last 64, which may be moved twice.
///
/// # Safety
/// `to` is valid for writes of `GAP + len` bytes and `from` for reads of `len` bytes.
#[inline(always)]
pub(crate) unsafe fn copy<const GAP: usize>(to: *mut u8, from: *const u8, len: usize) {
    let (last, short) = len.overflowing_sub(LINE);
    // SAFETY: the caller's contract; each access starts at 0 or later and ends at `len` or before.
    unsafe {
        if short {
            return copy_short(to.add(GAP), from, len);
        }
        if last != 0 {
            copy_lines::<GAP>(to, from, last);
        }
        line::<GAP>(to, from, last);
    }
}

/// Whole [`LINE`]s until at least the first `len` bytes, not 0, are copied.
///
/// # Safety
/// As [`copy`], with `len` rounded up to whole lines.
#[cold]
#[inline(never)]
unsafe fn copy_lines<const GAP: usize>(to: *mut u8, from: *const u8, len: usize) {
    let mut at = 0;
    while at < len {
        // SAFETY: the caller's contract.
        unsafe { line::<GAP>(to, from, at) };
        at += LINE;
    }
}

/// Fewer than [`LINE`] bytes.
///
/// # Safety
/// As [`copy`] without a gap.
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

/// Copies [`LINE`] bytes from `at` behind `from` to `GAP + at` behind `to`.
///
/// # Safety
/// Those bytes are valid for reads and for writes.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn line<const GAP: usize>(to: *mut u8, from: *const u8, at: usize) {
    // SAFETY: the caller's contract: eight words from 0 to 64.
    unsafe {
        core::arch::asm!(
            ".irp word, 0, 8, 16, 24, 32, 40, 48, 56",
            "mov {value}, qword ptr [{from} + {at} + \\word]",
            "mov qword ptr [{to} + {at} + {gap} + \\word], {value}",
            ".endr",
            value = out(reg) _,
            from = in(reg) from,
            to = in(reg) to,
            at = in(reg) at,
            gap = const GAP,
            options(nostack, preserves_flags)
        );
    }
}

/// Writes the 12 bytes of [`PLAIN_HDR`].
///
/// # Safety
/// `at` is valid for writes of 12 bytes, of any alignment.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn store_plain_header(at: *mut u8) {
    // SAFETY: the caller's contract.
    unsafe {
        core::arch::asm!(
            "mov qword ptr [{at}], {low}",
            "mov dword ptr [{at} + 8], {high}",
            at = in(reg) at,
            low = const PLAIN_LOW,
            high = const PLAIN_HIGH,
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

/// The low half of `value`. In assembly, as the compiler would leave it out where it knows that `value` is small.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn low32(mut value: u64) -> u64 {
    // SAFETY: one instruction on a register.
    unsafe {
        core::arch::asm!("mov {value:e}, {value:e}", value = inout(reg) value, options(pure, nomem, nostack, preserves_flags));
    }
    value
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
    pub(crate) unsafe fn line<const GAP: usize>(to: *mut u8, from: *const u8, at: usize) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from.add(at), to.add(GAP + at), super::LINE) };
    }

    pub(crate) unsafe fn store_plain_header(at: *mut u8) {
        // SAFETY: the caller's contract.
        unsafe { at.cast().write_unaligned(super::PLAIN_HDR) };
    }

    pub(crate) unsafe fn load64(at: *const u8) -> u64 {
        // SAFETY: the caller's contract.
        unsafe { at.cast::<u64>().read_unaligned() }
    }

    pub(crate) unsafe fn store64(at: *mut u8, word: u64) {
        // SAFETY: the caller's contract.
        unsafe { at.cast::<u64>().write_unaligned(word) };
    }

    pub(crate) fn low32(value: u64) -> u64 {
        value & u64::from(u32::MAX)
    }

    pub(crate) fn zero_if_above(value: u64, most: u64) -> u64 {
        if value > most { 0 } else { value }
    }
}
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) use portable::{line, load64, low32, store_plain_header, store64, zero_if_above};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_half_goes() {
        assert_eq!((low32(7), low32(u64::MAX)), (7, 0xffff_ffff));
    }

    #[test]
    fn only_what_is_above_becomes_zero() {
        assert_eq!((zero_if_above(5, 5), zero_if_above(6, 5), zero_if_above(u64::MAX, 0)), (5, 0, 0));
    }
}
