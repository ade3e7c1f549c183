//! Moving bytes that somebody else may be changing.
//!
//! # Why in assembly
//! A plain loop becomes a call to a library `memcpy`, which the window does not have (rule G12) and which would be free to read
//! a byte twice. Volatile accesses must be aligned, and frames are not. No vector registers: the window would have to
//! save and scrub them, and a guest can make their use fault.
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

use core::mem::offset_of;
use sluice_abi::net::PLAIN_HDR;
use sluice_abi::virtq::{Desc, DescF};

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
pub(crate) const LINE: usize = 64;
/// Bytes from which on [`copy_long`] is faster: measured by `cargo xtask bench rings`.
const LONG: usize = 768;

/// Copies `len` bytes: by lines, or by words if there is less than a line, or by bytes if there is less than a word. The last piece
/// is a whole one, so some bytes are moved twice. Long runs go by the string instruction.
///
/// # Safety
/// `to` is valid for writes and `from` for reads of `len` bytes.
#[inline(never)]
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    let mut at = 0;
    // SAFETY: the caller's contract; each access starts at 0 or later and ends at `len` or before.
    unsafe {
        if len >= LONG {
            return copy_long(to, from, len);
        }
        if let Some(last) = len.checked_sub(LINE) {
            while at < last {
                line::<0>(to, at, from, at);
                at += LINE;
            }
            line::<0>(to, last, from, last);
        } else if let Some(last) = len.checked_sub(WORD) {
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

/// Copies `len` bytes by the string instruction: from [`LONG`] on it moves more bytes in a cycle than moves by words or by SSE
/// registers do, and REP MOVSQ far fewer. (An emulator that counts instructions counts each of its bytes.)
///
/// # Safety
/// As [`copy`].
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn copy_long(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract. The direction flag is clear: the ABI says so, and the gate sees to it.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Copies [`LINE`] bytes from `from + from_at` to `to + to_at + GAP`: additions that an address has for nothing.
///
/// By words, or, where the target has vector registers, by these. The window's target has none (rule G12).
///
/// # Safety
/// Those bytes are valid for reads and for writes.
#[cfg(all(target_arch = "x86_64", not(target_feature = "sse2"), not(miri)))]
#[inline(always)]
pub(crate) unsafe fn line<const GAP: usize>(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
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

/// The same with vector registers.
///
/// # Safety
/// The same.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn line<const GAP: usize>(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
    // SAFETY: the caller's contract: four times 16 bytes.
    unsafe {
        core::arch::asm!(
            "movups {a}, xmmword ptr [{from} + {from_at}]",
            "movups {b}, xmmword ptr [{from} + {from_at} + 16]",
            "movups {c}, xmmword ptr [{from} + {from_at} + 32]",
            "movups {d}, xmmword ptr [{from} + {from_at} + 48]",
            "movups xmmword ptr [{to} + {to_at} + {gap}], {a}",
            "movups xmmword ptr [{to} + {to_at} + {gap} + 16], {b}",
            "movups xmmword ptr [{to} + {to_at} + {gap} + 32], {c}",
            "movups xmmword ptr [{to} + {to_at} + {gap} + 48], {d}",
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            from = in(reg) from,
            from_at = in(reg) from_at,
            to = in(reg) to,
            to_at = in(reg) to_at,
            gap = const GAP,
            options(nostack, preserves_flags)
        );
    }
}

/// Writes the 12 bytes of [`PLAIN_HDR`] to `to + at`.
///
/// # Safety
/// Those bytes are valid for writes.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn store_plain_header(to: *mut u8, at: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        core::arch::asm!(
            "mov qword ptr [{to} + {at}], {low}",
            "mov dword ptr [{to} + {at} + 8], {high}",
            to = in(reg) to,
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

/// Whether the descriptor at `table + at` has no flag but [`DescF::WRITE`] and a length of at least `len`; each field is read once.
/// In assembly, as the compiler would load what an instruction can compare in place.
///
/// # Safety
/// The descriptor is valid for reads, and aligned.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn is_writable(table: *const Desc, at: usize, len: u32) -> bool {
    // SAFETY: the caller's contract; reads two fields of the descriptor.
    unsafe {
        core::arch::asm!(
            "cmp word ptr [{table} + {at} + {flags}], {write}",
            "jne {no}",
            "cmp dword ptr [{table} + {at} + {room}], {len:e}",
            "jb {no}",
            table = in(reg) table,
            at = in(reg) at,
            len = in(reg) len,
            flags = const offset_of!(Desc, flags),
            room = const offset_of!(Desc, len),
            write = const DescF::WRITE.bits(),
            no = label { return false },
            options(nostack, readonly)
        );
    }
    true
}

/// `value`, of which the compiler knows nothing any more; no instruction. For a loop's counter: the compiler would put it into
/// another register for every exit of the loop.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn opaque(mut value: usize) -> usize {
    // SAFETY: nothing is executed.
    unsafe { core::arch::asm!("/* {} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    value
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
    pub(crate) unsafe fn copy_long(to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, len) };
    }

    use sluice_abi::virtq::{Desc, DescF};

    pub(crate) unsafe fn line<const GAP: usize>(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from.add(from_at), to.add(GAP + to_at), super::LINE) };
    }

    pub(crate) unsafe fn store_plain_header(to: *mut u8, at: usize) {
        // SAFETY: the caller's contract.
        unsafe { to.add(at).cast().write_unaligned(super::PLAIN_HDR) };
    }

    pub(crate) unsafe fn load64(at: *const u8) -> u64 {
        // SAFETY: the caller's contract.
        unsafe { at.cast::<u64>().read_unaligned() }
    }

    pub(crate) unsafe fn store64(at: *mut u8, word: u64) {
        // SAFETY: the caller's contract.
        unsafe { at.cast::<u64>().write_unaligned(word) };
    }

    pub(crate) unsafe fn is_writable(table: *const Desc, at: usize, len: u32) -> bool {
        // SAFETY: the caller's contract.
        unsafe {
            let desc = table.byte_add(at);
            let (flags, room) = ((&raw const (*desc).flags).read_volatile(), (&raw const (*desc).len).read_volatile());
            flags == DescF::WRITE.bits() && room >= len
        }
    }

    pub(crate) fn opaque(value: usize) -> usize {
        value
    }

    pub(crate) fn low32(value: u64) -> u64 {
        value & u64::from(u32::MAX)
    }

    pub(crate) fn zero_if_above(value: u64, most: u64) -> u64 {
        if value > most { 0 } else { value }
    }
}
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) use portable::{
    copy_long, is_writable, line, load64, low32, opaque, store_plain_header, store64, zero_if_above,
};

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
