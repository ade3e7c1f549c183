//! Bytes through vector registers: YMM0 to YMM2, and no others (rule G12).
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

use super::HDR;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use super::words::copy_short;
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

/// The instruction that a frame needs to have the header in XMM2. A target whose compiler uses no vector registers needs none: there
/// [`load_header`] loads the header once for a burst, and nothing takes the register away before [`clear_vectors`].
#[cfg(all(target_arch = "x86_64", not(miri), target_feature = "sse2"))]
macro_rules! load_header {
    () => {
        "vmovdqu xmm2, xmmword ptr [rip + {header}]"
    };
}
#[cfg(all(target_arch = "x86_64", not(miri), not(target_feature = "sse2")))]
macro_rules! load_header {
    () => {
        "/* {header} is in xmm2 */"
    };
}

/// Loads the header for all frames up to [`clear_vectors`], where that is possible.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(super) fn load_header() {
    #[cfg(not(target_feature = "sse2"))]
    // SAFETY: there was an Avx to call this with; the constant has 16 bytes, and the compiler keeps nothing in the register.
    unsafe {
        core::arch::asm!(
            "vmovdqu xmm2, xmmword ptr [rip + {header}]",
            header = sym HEADER,
            options(nostack, preserves_flags)
        );
    }
}

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
            load_header!(),
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

/// The moves of a frame of `LEAST + beyond` bytes behind its header: as many whole registers from its start as to its end. They meet or
/// overlap, so there is no loop, and nothing is read or written outside the frame.
#[cfg(all(target_arch = "x86_64", not(miri)))]
macro_rules! headed_ends {
    ($ats:literal, $pieces:expr, $to:ident, $from:ident, $beyond:ident, $least:expr) => {
        core::arch::asm!(
            load_header!(),
            "vmovdqu xmmword ptr [{to}], xmm2",
            concat!(".irp at, ", $ats),
            "vmovdqu ymm0, ymmword ptr [{from} + \\at]",
            "vmovdqu ymm1, ymmword ptr [{from} + {beyond} + {back} + \\at]",
            "vmovdqu ymmword ptr [{to} + {hdr} + \\at], ymm0",
            "vmovdqu ymmword ptr [{to} + {beyond} + {hdr} + {back} + \\at], ymm1",
            ".endr",
            from = in(reg) $from,
            to = in(reg) $to,
            beyond = in(reg) $beyond,
            back = const $least as isize - ($pieces * VECTOR) as isize,
            hdr = const HDR,
            header = sym HEADER,
            #[cfg(target_feature = "sse2")]
            out("xmm0") _,
            #[cfg(target_feature = "sse2")]
            out("xmm1") _,
            #[cfg(target_feature = "sse2")]
            out("xmm2") _,
            options(nostack, preserves_flags)
        )
    };
}

/// # Safety
/// As [`super::sealed::Lanes::headed_ends`], and there is AVX.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(super) unsafe fn headed_ends_of_vectors<const PIECES: usize, const LEAST: usize>(
    to: *mut u8,
    from: *const u8,
    beyond: usize,
) {
    const { assert!(matches!(PIECES, 1 | 2 | 4 | 8), "there are moves for these numbers of registers") };
    // SAFETY: the caller's contract. The header's store covers four bytes of the frame, which are written after it. A target without
    // vector registers keeps nothing in them.
    unsafe {
        match PIECES {
            1 => headed_ends!("0", PIECES, to, from, beyond, LEAST),
            2 => headed_ends!("0, 32", PIECES, to, from, beyond, LEAST),
            4 => headed_ends!("0, 32, 64, 96", PIECES, to, from, beyond, LEAST),
            _ => headed_ends!("0, 32, 64, 96, 128, 160, 192, 224", PIECES, to, from, beyond, LEAST),
        }
    }
}

/// # Safety
/// As [`super::sealed::Lanes::copy`], and there is AVX.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(never)]
pub(super) unsafe fn copy_vectors(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        if len < TURN {
            return copy_short(to, from, len);
        }
        copy_long(to, from, len);
        // The callers may go on with older instructions.
        core::arch::asm!("vzeroupper", options(nomem, nostack, preserves_flags));
    }
}

/// Bytes that a turn of the loop for long frames moves.
pub(super) const TURN: usize = 128;

/// Copies `len` bytes, at least [`TURN`].
///
/// # Safety
/// As [`super::sealed::Lanes::copy`], and there is AVX.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(super) unsafe fn copy_long(to: *mut u8, from: *const u8, len: usize) {
    let last = len - TURN;
    // Behind the first register, from where on stores are aligned: one that is not costs two where it crosses a cache line.
    let aligned = VECTOR - (to as usize) % VECTOR;
    // SAFETY: the caller's contract. The last turn comes first, so that what the loop leaves is done; then the first register, within
    // or behind which the loop begins; each access starts at 0 or later and ends at `len` or before.
    unsafe {
        core::arch::asm!(
            ".irp piece, 0, 64",
            "vmovdqu ymm0, ymmword ptr [{from} + {last} + \\piece]",
            "vmovdqu ymm1, ymmword ptr [{from} + {last} + 32 + \\piece]",
            "vmovdqu ymmword ptr [{to} + {last} + \\piece], ymm0",
            "vmovdqu ymmword ptr [{to} + {last} + 32 + \\piece], ymm1",
            ".endr",
            "vmovdqu ymm0, ymmword ptr [{from}]",
            "vmovdqu ymmword ptr [{to}], ymm0",
            "cmp {at}, {last}",
            "jae 3f",
            ".p2align 5",
            "2:",
            ".irp piece, 0, 64",
            "vmovdqu ymm0, ymmword ptr [{from} + {at} + \\piece]",
            "vmovdqu ymm1, ymmword ptr [{from} + {at} + 32 + \\piece]",
            "vmovdqu ymmword ptr [{to} + {at} + \\piece], ymm0",
            "vmovdqu ymmword ptr [{to} + {at} + 32 + \\piece], ymm1",
            ".endr",
            "sub {at}, -{turn}",
            "cmp {at}, {last}",
            "jb 2b",
            "3:",
            from = in(reg) from,
            to = in(reg) to,
            last = in(reg) last,
            turn = const TURN,
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

    pub(in super::super) unsafe fn headed_ends_of_vectors<const PIECES: usize, const LEAST: usize>(
        to: *mut u8,
        from: *const u8,
        beyond: usize,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            to.cast::<[u8; 16]>().write_unaligned(HEADER);
            copy_long(to.add(HDR), from, LEAST + beyond);
        }
    }

    pub(in super::super) unsafe fn copy_long(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, len) };
    }

    pub(in super::super) unsafe fn copy_vectors(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, len) };
    }

    pub(in super::super) fn load_header() {}

    pub(in super::super) fn clear_vectors() {}
}
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(super) use portable::{
    clear_vectors, copy_long, copy_vectors, headed_ends_of_vectors, headed_line_of_vectors, load_header,
};
