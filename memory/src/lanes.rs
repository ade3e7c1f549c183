//! The registers that bytes are moved through, where somebody else may be changing them.
//!
//! # Why in assembly
//! A plain loop becomes a call to a library `memcpy`, which the window does not have (rule G12) and which would be free to read
//! a byte twice. Volatile accesses must be aligned, and frames are not.
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

use crate::word::{load64, store_plain_header, store64};
use sluice_abi::net::{HDR_LEN, PLAIN_HDR};

/// Bytes that [`Lanes::line`] moves.
pub(crate) const LINE: usize = 64;
const WORD: usize = size_of::<u64>();
const HDR: usize = HDR_LEN as usize;

/// Registers that bytes are moved through.
pub trait Lanes: Copy + sealed::Lanes {
    /// Clears what the copies left in vector registers. Whoever moved frames does that before anything else may use such a register: an
    /// older instruction on one with a new upper half costs some 250 ticks.
    #[inline(always)]
    fn scrub(self) {
        sealed::Lanes::clear(self);
    }
}

pub(crate) mod sealed {
    pub trait Lanes {
        /// Writes [`sluice_abi::net::PLAIN_HDR`] and, from `from + from_at`, a frame of [`super::LINE`] bytes to `to + to_at`:
        /// additions that an address has for nothing. In few stores, as a processor can wait for few.
        ///
        /// # Safety
        /// Those bytes are valid for reads and for writes.
        unsafe fn line(self, to: *mut u8, to_at: usize, from: *const u8, from_at: usize);

        /// Copies `len` bytes. The last piece is a whole one, so some bytes are moved twice.
        ///
        /// # Safety
        /// `to` is valid for writes and `from` for reads of `len` bytes.
        unsafe fn copy(self, to: *mut u8, from: *const u8, len: usize);

        fn clear(self);
    }
}

/// General registers, 8 bytes at a time. On every processor, and with nothing to save or to scrub.
#[derive(Clone, Copy, Debug)]
pub struct Words;

/// Vector registers, 32 bytes at a time. There is one only where processor and operating system allow AVX.
#[derive(Clone, Copy, Debug)]
pub struct Avx(());

impl Avx {
    /// [`Avx`], if this processor has it and the operating system has switched it on. In a VM this exits, as CPUID does.
    /// See: SDM volume 1, "Detection of Intel AVX Instructions".
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub fn detect() -> Option<Self> {
        const OSXSAVE_AND_AVX: u32 = 0b11 << 27;
        const SSE_AND_AVX_STATE: u32 = 0b110;
        if core::arch::x86_64::__cpuid(1).ecx & OSXSAVE_AND_AVX != OSXSAVE_AND_AVX {
            return None;
        }
        let state: u32;
        // SAFETY: reads XCR0, which is allowed where OSXSAVE is set.
        unsafe { core::arch::asm!("xgetbv", in("ecx") 0, out("eax") state, out("edx") _, options(nomem, nostack)) };
        (state & SSE_AND_AVX_STATE == SSE_AND_AVX_STATE).then_some(Self(()))
    }

    /// There is none.
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pub fn detect() -> Option<Self> {
        None
    }

    /// [`Avx`] without a look.
    ///
    /// # Safety
    /// [`Avx::detect`] would find it wherever this is used, or a fault there is somebody's to contain.
    pub const unsafe fn assume() -> Self {
        Self(())
    }
}

impl Lanes for Words {}
impl sealed::Lanes for Words {
    #[inline(always)]
    unsafe fn line(self, to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            store_plain_header(to, to_at);
            line_of_words::<HDR>(to, to_at, from, from_at);
        }
    }

    #[inline(always)]
    unsafe fn copy(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe { copy_words(to, from, len) }
    }

    #[inline(always)]
    fn clear(self) {}
}

impl Lanes for Avx {}
impl sealed::Lanes for Avx {
    #[inline(always)]
    unsafe fn line(self, to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
        // SAFETY: the caller's contract; there is AVX, says the token.
        unsafe { headed_line_of_vectors(to, to_at, from, from_at) }
    }

    #[inline(always)]
    unsafe fn copy(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract; there is AVX, says the token.
        unsafe { copy_vectors(to, from, len) }
    }

    #[inline(always)]
    fn clear(self) {
        clear_vectors();
    }
}

/// Bytes from which on the string instruction is the faster way to move words: `cargo xtask bench rings`, frames of 512 and 1,024.
const LONG: usize = 768;

/// # Safety
/// As [`sealed::Lanes::copy`].
#[inline(never)]
unsafe fn copy_words(to: *mut u8, from: *const u8, len: usize) {
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
/// As [`sealed::Lanes::copy`].
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
/// As [`sealed::Lanes::copy`].
#[inline(always)]
unsafe fn copy_short(to: *mut u8, from: *const u8, len: usize) {
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
/// As [`sealed::Lanes::line`].
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn line_of_words<const GAP: usize>(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
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
/// As [`sealed::Lanes::line`], and there is AVX.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn headed_line_of_vectors(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
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
/// As [`sealed::Lanes::copy`], and there is AVX.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(never)]
unsafe fn copy_vectors(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract. From 64 bytes on: the last 64 first, so that what the loop, 64 at a time, leaves is done; each
    // access starts at 0 or later and ends at `len` or before.
    unsafe {
        let Some(last) = len.checked_sub(LINE) else { return copy_short(to, from, len) };
        core::arch::asm!(
            "vmovdqu ymm0, ymmword ptr [{from} + {last}]",
            "vmovdqu ymm1, ymmword ptr [{from} + {last} + 32]",
            "vmovdqu ymmword ptr [{to} + {last}], ymm0",
            "vmovdqu ymmword ptr [{to} + {last} + 32], ymm1",
            "jmp 3f",
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
            at = inout(reg) 0usize => _,
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
fn clear_vectors() {
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
    pub(super) unsafe fn line_of_words<const GAP: usize>(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from.add(from_at), to.add(GAP + to_at), super::LINE) };
    }

    pub(super) unsafe fn headed_line_of_vectors(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            to.add(to_at).cast::<[u8; 16]>().write_unaligned(super::HEADER);
            line_of_words::<{ super::HDR }>(to, to_at, from, from_at);
        }
    }

    pub(super) unsafe fn copy_string(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, len) };
    }

    pub(super) use copy_string as copy_vectors;

    pub(super) fn clear_vectors() {}
}
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
use portable::{clear_vectors, copy_string, copy_vectors, headed_line_of_vectors, line_of_words};

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn every_length(lanes: impl Lanes) {
        let from: Vec<u8> = (0..=255).cycle().take(2100).collect();
        for len in (0..300).chain([767, 768, 1518, 2047]) {
            let mut to = std::vec![0xa5; 2200];
            // SAFETY: 1 + len is at most 2,048 bytes of 2,100; 3 + len are as many of 2,200.
            unsafe { lanes.copy(to.as_mut_ptr().wrapping_add(3), from.as_ptr().wrapping_add(1), len) };
            assert_eq!(to[3..3 + len], from[1..1 + len]);
            assert!(to[..3].iter().chain(&to[3 + len..]).all(|&byte| byte == 0xa5), "{len} bytes");
        }
        lanes.scrub();
    }

    #[test]
    fn every_length_is_copied_whole_and_no_further() {
        every_length(Words);
        if let Some(a) = Avx::detect() {
            every_length(a)
        }
    }
}
