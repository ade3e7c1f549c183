//! Bytes through vector registers: YMM0 to YMM2, and no others (rule G12).
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

use super::{HDR, HEADER, LINE, TURN, VECTOR, copy_short, sealed};

/// Vector registers, 32 bytes at a time. A value exists only where processor and operating system allow AVX.
#[derive(Clone, Copy, Debug)]
pub struct Avx(());

impl Avx {
    /// Returns [`Avx`] if this processor has it and the operating system has switched it on. In a VM this exits, as
    /// CPUID does. See: SDM volume 1, "Detection of Intel AVX Instructions".
    pub fn detect() -> Option<Self> {
        assembly!({
            const OSXSAVE_AND_AVX: u32 = 0b11 << 27;
            const SSE_AND_AVX_STATE: u64 = 0b110;
            let has = core::arch::x86_64::__cpuid(1).ecx & OSXSAVE_AND_AVX == OSXSAVE_AND_AVX;
            // SAFETY: XCR0 may be read where OSXSAVE is set.
            let is_on = || unsafe { core::arch::x86_64::_xgetbv(0) } & SSE_AND_AVX_STATE == SSE_AND_AVX_STATE;
            (has && is_on()).then_some(Self(()))
        } else {
            None
        })
    }

    /// Returns [`Avx`] without a look.
    ///
    /// # Safety
    /// [`Avx::detect`] would find it wherever this is used, or a fault there is somebody's to contain.
    pub const unsafe fn assume() -> Self {
        Self(())
    }
}

/// An `asm!` that uses YMM0 to YMM2. A target whose compiler uses no vector registers keeps nothing in them, and can't
/// name them.
macro_rules! vectors {
    ($($asm:tt)*) => {
        core::arch::asm!(
            $($asm)*
            #[cfg(target_feature = "sse2")]
            out("xmm0") _,
            #[cfg(target_feature = "sse2")]
            out("xmm1") _,
            #[cfg(target_feature = "sse2")]
            out("xmm2") _,
        )
    };
}

/// The instruction that a frame needs to have the header in XMM2. A target whose compiler uses no vector registers
/// needs none: there [`sealed::Lanes::load`] loads the header once for a burst, and nothing takes the register away
/// before [`sealed::Lanes::clear`].
#[cfg(target_feature = "sse2")]
macro_rules! header {
    () => {
        "vmovdqu xmm2, xmmword ptr [rip + {header}]"
    };
}
#[cfg(not(target_feature = "sse2"))]
macro_rules! header {
    () => {
        "/* {header} is in XMM2 */"
    };
}

/// The store of the header at `to`, and of what a frame then lies over.
macro_rules! store_header {
    ($to:ident) => {
        vectors!(
            header!(), "vmovdqu xmmword ptr [{to}], xmm2",
            to = in(reg) $to, header = sym HEADER, options(nostack, preserves_flags),
        )
    };
}

/// The moves of `LEAST + beyond` bytes to `to + gap`: as many whole registers from their start as to their end. They
/// meet or overlap, so there is no loop, and nothing outside of the bytes is read or written.
macro_rules! ends {
    ($ats:literal, $pieces:expr, $least:expr, $gap:expr, $to:ident, $from:ident, $beyond:ident) => {
        vectors!(
            concat!(".irp at, ", $ats),
            "vmovdqu ymm0, ymmword ptr [{from} + \\at]",
            "vmovdqu ymm1, ymmword ptr [{from} + {beyond} + {back} + \\at]",
            "vmovdqu ymmword ptr [{to} + {gap} + \\at], ymm0",
            "vmovdqu ymmword ptr [{to} + {beyond} + {gap} + {back} + \\at], ymm1",
            ".endr",
            from = in(reg) $from, to = in(reg) $to, beyond = in(reg) $beyond, gap = const $gap,
            back = const $least as isize - ($pieces * VECTOR) as isize, options(nostack, preserves_flags),
        )
    };
}

impl super::Lanes for Avx {}
impl sealed::Lanes for Avx {
    #[inline(always)]
    unsafe fn line(self, to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
        const { assert!(LINE == 2 * VECTOR) };
        assembly!({
            // SAFETY: the caller's contract; the value says that there is AVX. The frame lies over the end of the
            // header's store.
            unsafe {
                vectors!(
                    "vmovdqu ymm0, ymmword ptr [{from} + {from_at}]",
                    "vmovdqu ymm1, ymmword ptr [{from} + {from_at} + 32]",
                    header!(), "vmovdqu xmmword ptr [{to} + {to_at}], xmm2",
                    "vmovdqu ymmword ptr [{to} + {to_at} + {hdr}], ymm0",
                    "vmovdqu ymmword ptr [{to} + {to_at} + {hdr} + 32], ymm1",
                    from = in(reg) from, from_at = in(reg) from_at, to = in(reg) to, to_at = in(reg) to_at,
                    hdr = const HDR, header = sym HEADER, options(nostack, preserves_flags),
                );
            }
        } else {
            // SAFETY: the caller's contract.
            unsafe { self.headed_long(to.add(to_at), from.add(from_at), LINE) }
        });
    }

    #[inline(always)]
    unsafe fn headed_ends<const PIECES: usize, const LEAST: usize>(self, to: *mut u8, from: *const u8, beyond: usize) {
        const { assert!(matches!(PIECES, 1 | 2 | 4 | 8), "there are moves for these numbers of registers") };
        assembly!({
            // SAFETY: the caller's contract; the value says that there is AVX. The frame lies over the end of the
            // header's store.
            unsafe {
                store_header!(to);
                match PIECES {
                    1 => ends!("0", PIECES, LEAST, HDR, to, from, beyond),
                    2 => ends!("0, 32", PIECES, LEAST, HDR, to, from, beyond),
                    4 => ends!("0, 32, 64, 96", PIECES, LEAST, HDR, to, from, beyond),
                    _ => ends!("0, 32, 64, 96, 128, 160, 192, 224", PIECES, LEAST, HDR, to, from, beyond),
                }
            }
        } else {
            // SAFETY: the caller's contract.
            unsafe { self.headed_long(to, from, LEAST + beyond) }
        });
    }

    #[inline(always)]
    unsafe fn headed_long(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract; the value says that there is AVX. The frame lies over the end of the header's
        // store.
        unsafe {
            assembly!({ store_header!(to) } else { to.cast::<[u8; HDR]>().write(HEADER[0]) });
            copy_long(to.add(HDR), from, len);
        }
    }

    #[inline(never)]
    unsafe fn copy(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            if len < TURN {
                return copy_short(to, from, len);
            }
            copy_long(to, from, len);
            // The callers may go on with older instructions.
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            core::arch::asm!("vzeroupper", options(nomem, nostack, preserves_flags));
        }
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[inline(always)]
    unsafe fn short(self, to: *mut u8, from: *const u8, len: usize) {
        let (one, two) = (len.wrapping_sub(VECTOR), len.wrapping_sub(LINE));
        // SAFETY: the caller's contract; the value says that there is AVX, and each class has its number of registers.
        unsafe {
            match len {
                ..VECTOR => copy_short(to, from, len),
                VECTOR..=LINE => ends!("0", 1, VECTOR, 0, to, from, one),
                _ => ends!("0, 32", 2, LINE, 0, to, from, two),
            }
        }
    }

    #[inline(always)]
    fn load(self) {
        #[cfg(all(target_arch = "x86_64", not(miri), not(target_feature = "sse2")))]
        // SAFETY: the value says that there is AVX; the constant has 16 bytes.
        unsafe {
            core::arch::asm!("vmovdqu xmm2, xmmword ptr [rip + {}]", sym HEADER, options(nostack, preserves_flags));
        }
    }

    #[inline(always)]
    fn clear(self) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: the value says that there is AVX.
        unsafe {
            vectors!(
                "vpxor xmm0, xmm0, xmm0; vpxor xmm1, xmm1, xmm1; vpxor xmm2, xmm2, xmm2",
                "vzeroupper",
                options(nomem, nostack, preserves_flags),
            );
        }
    }
}

/// Copies `len` bytes, at least [`TURN`].
///
/// # Safety
/// As [`sealed::Lanes::copy`], and there is AVX.
#[inline(always)]
unsafe fn copy_long(to: *mut u8, from: *const u8, len: usize) {
    assembly!({
        let last = len - TURN;
        // Stores are aligned behind the first register, as one across cache lines costs two.
        let aligned = VECTOR - (to as usize) % VECTOR;
        // SAFETY: the caller's contract. The last turn comes first, so that the loop may leave it out; then the first
        // register, within or behind which the loop begins. Each access is within the `len` bytes.
        unsafe {
            vectors!(
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
                from = in(reg) from, to = in(reg) to, last = in(reg) last,
                turn = const TURN,
                at = inout(reg) aligned => _,
                options(nostack),
            );
        }
    } else {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, len) };
    });
}
