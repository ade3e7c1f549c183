//! Copies of few bytes, in the caller's code and without a loop over words: a head of a frame, what changed in one, or
//! a short record.
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

use super::{LINE, WORD, copy_words};

/// Fewest bytes that are more than a line.
const MORE: usize = LINE + 1;

/// Copies `LEN` bytes from the start and as many to the end of `len`, so some are moved twice.
///
/// # Safety
/// As [`super::sealed::Lanes::copy`], and `len` is `LEN` or more.
#[inline(always)]
unsafe fn copy_ends<const LEN: usize>(to: *mut u8, from: *const u8, len: usize) {
    let last = len - LEN;
    // SAFETY: the caller's contract; the accesses start at 0 or later and end at `len`.
    unsafe {
        copy_words::<0, LEN>(to, 0, from, 0);
        copy_words::<0, LEN>(to, last, from, last);
    }
}

/// Copies at most [`super::SHORT`] bytes.
///
/// # Safety
/// As [`super::sealed::Lanes::copy`], for such a length.
#[inline(always)]
pub(crate) unsafe fn copy_short(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract, and the bound of each class.
    unsafe {
        match len {
            LINE => copy_words::<0, LINE>(to, 0, from, 0),
            MORE.. => copy_ends::<LINE>(to, from, len),
            32.. => copy_ends::<32>(to, from, len),
            16.. => copy_ends::<16>(to, from, len),
            WORD.. => copy_ends::<WORD>(to, from, len),
            _ => (0..len).for_each(|at| to.add(at).write_volatile(from.add(at).read_volatile())),
        }
    }
}

/// Copies at most [`super::SHORT`] bytes, through YMM0 and YMM1 where there are enough of them.
///
/// # Safety
/// As [`super::sealed::Lanes::copy`], for such a length, and there is AVX.
#[inline(always)]
pub(super) unsafe fn copy_short_by_vectors(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract, and the bound of each class.
    unsafe {
        match len {
            LINE => copy_pair(to, from, 0, 32),
            MORE.. => {
                copy_pair(to, from, 0, 32);
                copy_pair(to, from, len - 64, len - 32);
            }
            32.. => copy_pair(to, from, 0, len - 32),
            _ => copy_short(to, from, len),
        }
    }
}

/// Copies two vectors of 32 bytes, at the offsets `first` and `second`. Both are loaded before one is stored.
///
/// # Safety
/// Those bytes are valid for reads and for writes, and there is AVX.
#[inline(always)]
unsafe fn copy_pair(to: *mut u8, from: *const u8, first: usize, second: usize) {
    assembly!({
        // SAFETY: the caller's contract.
        unsafe {
            core::arch::asm!(
                "vmovdqu ymm0, ymmword ptr [{from} + {first}]",
                "vmovdqu ymm1, ymmword ptr [{from} + {second}]",
                "vmovdqu ymmword ptr [{to} + {first}], ymm0",
                "vmovdqu ymmword ptr [{to} + {second}], ymm1",
                from = in(reg) from, to = in(reg) to, first = in(reg) first, second = in(reg) second,
                #[cfg(target_feature = "sse2")]
                out("xmm0") _,
                #[cfg(target_feature = "sse2")]
                out("xmm1") _,
                options(nostack, preserves_flags)
            );
        }
    } else {
        // SAFETY: the caller's contract.
        unsafe {
            core::ptr::copy(from.add(first), to.add(first), 32);
            core::ptr::copy(from.add(second), to.add(second), 32);
        }
    });
}
