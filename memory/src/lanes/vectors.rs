//! Bytes through vector registers: YMM0 to YMM2, and no others (rule G12).
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

use super::HDR;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use super::{LINE, words::copy_short};
use sluice_abi::net::PLAIN_HDR;

/// Bytes of a vector register.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const VECTOR: usize = 32;

/// The header, and what the frame will lie over.
static HEADER: [u8; 16] = {
    let (mut header, mut at) = ([0; 16], 0);
    while at < HDR {
        header[at] = PLAIN_HDR[at];
        at += 1;
    }
    header
};

/// # Safety
/// As [`super::sealed::Lanes::line`], and there is AVX.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(super) unsafe fn headed_line_of_vectors(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
    // SAFETY: the caller's contract: 16 bytes, over the last four of which the frame comes, and twice 32. A target without vector
    // registers keeps nothing in them.
    unsafe {
        core::arch::asm!(
            "vmovdqu ymm0, ymmword ptr [{from} + {from_at}]",
            "vmovdqu ymm1, ymmword ptr [{from} + {from_at} + 32]",
            "vmovdqu xmm2, xmmword ptr [rip + {header}]",
            "vmovdqu xmmword ptr [{to} + {to_at}], xmm2",
            "vmovdqu ymmword ptr [{to} + {to_at} + {hdr}], ymm0",
            "vmovdqu ymmword ptr [{to} + {to_at} + {hdr} + 32], ymm1",
            from = in(reg) from,
            from_at = in(reg) from_at,
            to = in(reg) to,
            to_at = in(reg) to_at,
            hdr = const HDR,
            header = sym HEADER,
            #[cfg(target_feature = "sse2")]
            out("xmm0") _,
            #[cfg(target_feature = "sse2")]
            out("xmm1") _,
            #[cfg(target_feature = "sse2")]
            out("xmm2") _,
            options(nostack, preserves_flags)
        );
    }
}

/// # Safety
/// As [`super::sealed::Lanes::copy`], and there is AVX.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(never)]
pub(super) unsafe fn copy_vectors(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract. From 64 bytes on: the last 64 first, so that what the loop, 64 at a time, leaves is done; then the
    // first 32, which the loop begins within or behind; each access starts at 0 or later and ends at `len` or before.
    unsafe {
        let Some(last) = len.checked_sub(LINE) else { return copy_short(to, from, len) };
        // Behind the first 32 bytes, from where on stores are aligned: one that is not costs two where it crosses a cache line.
        let aligned = VECTOR - (to as usize) % VECTOR;
        core::arch::asm!(
            "vmovdqu ymm0, ymmword ptr [{from} + {last}]",
            "vmovdqu ymm1, ymmword ptr [{from} + {last} + 32]",
            "vmovdqu ymmword ptr [{to} + {last}], ymm0",
            "vmovdqu ymmword ptr [{to} + {last} + 32], ymm1",
            "vmovdqu ymm0, ymmword ptr [{from}]",
            "vmovdqu ymmword ptr [{to}], ymm0",
            "jmp 3f",
            ".p2align 5",
            "2:",
            "vmovdqu ymm0, ymmword ptr [{from} + {at}]",
            "vmovdqu ymm1, ymmword ptr [{from} + {at} + 32]",
            "vmovdqu ymmword ptr [{to} + {at}], ymm0",
            "vmovdqu ymmword ptr [{to} + {at} + 32], ymm1",
            "add {at}, 64",
            "3:",
            "cmp {at}, {last}",
            "jb 2b",
            "vzeroupper",
            from = in(reg) from,
            to = in(reg) to,
            last = in(reg) last,
            at = inout(reg) aligned => _,
            #[cfg(target_feature = "sse2")]
            out("xmm0") _,
            #[cfg(target_feature = "sse2")]
            out("xmm1") _,
            options(nostack)
        );
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(super) fn clear_vectors() {
    // SAFETY: there was an Avx to call this with, so there is AVX; a target without vector registers keeps nothing in them.
    unsafe {
        core::arch::asm!(
            "vpxor xmm0, xmm0, xmm0",
            "vpxor xmm1, xmm1, xmm1",
            "vpxor xmm2, xmm2, xmm2",
            "vzeroupper",
            #[cfg(target_feature = "sse2")]
            out("xmm0") _,
            #[cfg(target_feature = "sse2")]
            out("xmm1") _,
            #[cfg(target_feature = "sse2")]
            out("xmm2") _,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// The same for Miri and other processors.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod portable {
    use super::super::words::line_of_words;
    use super::{HDR, HEADER};

    pub(in super::super) unsafe fn headed_line_of_vectors(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            to.add(to_at).cast::<[u8; 16]>().write_unaligned(HEADER);
            line_of_words::<HDR>(to, to_at, from, from_at);
        }
    }

    pub(in super::super) unsafe fn copy_vectors(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, len) };
    }

    pub(in super::super) fn clear_vectors() {}
}
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) use portable::{clear_vectors, copy_vectors, headed_line_of_vectors};
