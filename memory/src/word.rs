//! Single accesses and register operations that must be just what they say: no second read, no check left out because the compiler
//! thinks to know better.
#![allow(unsafe_code, reason = "one instruction each, on memory that its callers checked")]

#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::{Entries, LINE};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use core::{cmp::Ordering, mem::offset_of};
#[cfg(all(target_arch = "x86_64", not(miri)))]
use sluice_abi::call::Packet;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use sluice_abi::net::HDR_LEN;
use sluice_abi::net::PLAIN_HDR;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use sluice_abi::packed;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use sluice_abi::virtq::{Desc, DescF};

/// [`PLAIN_HDR`] as two words, of which an instruction can hold the second and sign-extend the first.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const PLAIN_LOW: i32 = 0;
#[cfg(all(target_arch = "x86_64", not(miri)))]
const PLAIN_HIGH: u32 = u32::from_le_bytes([PLAIN_HDR[8], PLAIN_HDR[9], PLAIN_HDR[10], PLAIN_HDR[11]]);
/// Bytes of a header and a line.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const HEADED_LINE: u32 = HDR_LEN + LINE as u32;
const _: () = {
    let mut at = 0;
    while at < 8 {
        assert!(PLAIN_HDR[at] == 0);
        at += 1;
    }
};

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

/// Begins to fetch the cache line at `at` and the next one, to be written. Wherever that is, nothing is read and nothing faults.
/// See: SDM volume 2, "PREFETCHW".
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn prefetch_for_write(at: *const u8) {
    // SAFETY: hints.
    unsafe {
        core::arch::asm!(
            "prefetchw byte ptr [{at}]",
            "prefetchw byte ptr [{at} + 64]",
            at = in(reg) at,
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

/// Whether the descriptor at `table + SCALE * at` has no flag but [`DescF::WRITE`] and a length of at least `len`; each field is read once.
/// In assembly, as the compiler would load what an instruction can compare in place. `ONE_LINE`: `len` is [`HEADED_LINE`], which needs no register.
///
/// # Safety
/// The descriptor is valid for reads, and aligned.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn is_writable<const ONE_LINE: bool, const SCALE: usize>(
    table: *const Desc,
    at: usize,
    len: u32,
) -> bool {
    macro_rules! compare {
        ($len:literal, $($kind:tt)*) => {
            core::arch::asm!(
                "cmp word ptr [{table} + {scale} * {at} + {flags}], {write}",
                "jne {no}",
                concat!("cmp dword ptr [{table} + {scale} * {at} + {room}], ", $len),
                "jb {no}",
                table = in(reg) table,
                at = in(reg) at,
                scale = const SCALE,
                len = $($kind)*,
                flags = const offset_of!(Desc, flags),
                room = const offset_of!(Desc, len),
                write = const DescF::WRITE.bits(),
                no = label { return false },
                options(nostack, readonly)
            )
        };
    }
    // SAFETY: the caller's contract; reads two fields of the descriptor.
    unsafe {
        if ONE_LINE {
            compare!("{len}", const HEADED_LINE);
        } else {
            compare!("{len:e}", in(reg) len);
        }
    }
    true
}

/// The id of the packed descriptor at `descs + 8 * at` if its flags are `flags` and its length is at least `len`; each field is read once, the
/// flags first. In assembly, as above. `ONE_LINE`: as in [`is_writable`].
///
/// # Safety
/// The descriptor is valid for reads, and aligned.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn available<const ONE_LINE: bool>(
    descs: *const packed::Desc,
    at: usize,
    flags: u16,
    len: u32,
) -> Option<u16> {
    macro_rules! compare {
        ($len:literal, $($kind:tt)*) => {
            core::arch::asm!(
                "cmp word ptr [{descs} + 8 * {at} + {flags_at}], {flags:x}",
                "jne {no}",
                concat!("cmp dword ptr [{descs} + 8 * {at} + {room}], ", $len),
                "jb {no}",
                descs = in(reg) descs,
                at = in(reg) at,
                flags = in(reg) flags,
                len = $($kind)*,
                flags_at = const offset_of!(packed::Desc, flags),
                room = const offset_of!(packed::Desc, len),
                no = label { return None },
                options(nostack, readonly)
            )
        };
    }
    // SAFETY: the caller's contract; reads three fields of the descriptor.
    unsafe {
        if ONE_LINE {
            compare!("{len}", const HEADED_LINE);
        } else {
            compare!("{len:e}", in(reg) len);
        }
        let desc = descs.wrapping_byte_add(at.wrapping_mul(8));
        Some((&raw const (*desc).id).read_volatile())
    }
}

/// Whether length and peer of the packet at `packets`, `at` units of [`Entries`] further on, read once, are `word`. In assembly, as above.
///
/// # Safety
/// The packet is valid for reads, and aligned.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) unsafe fn is_packet<R: Entries>(packets: *const Packet, at: usize, word: u32) -> bool {
    // SAFETY: the caller's contract; reads the second half of the packet.
    unsafe {
        core::arch::asm!(
            "cmp dword ptr [{packets} + {size} * {at} + {len}], {word:e}",
            "jne {no}",
            packets = in(reg) packets,
            at = in(reg) at,
            word = in(reg) word,
            size = const size_of::<Packet>() / R::UNITS,
            len = const offset_of!(Packet, len),
            no = label { return false },
            options(nostack, readonly)
        );
    }
    true
}

/// Whether `value`, a number with a sign, is negative (`Less`), at most `MOST` (`Equal`), or above. In assembly, as the compiler would compare
/// twice where one comparison tells both.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn against<const MOST: i32>(value: u64) -> Ordering {
    // SAFETY: one comparison of a register.
    unsafe {
        core::arch::asm!(
            "cmp {value}, {most}",
            "jbe {within}",
            "jl {below}",
            value = in(reg) value,
            most = const MOST,
            within = label { return Ordering::Equal },
            below = label { return Ordering::Less },
            options(nomem, nostack)
        );
    }
    Ordering::Greater
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

/// `value` modulo `N`, a power of two. In assembly, as the compiler would leave it out where a check has shown that `value` is below it.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn modulo<const N: usize>(mut value: usize) -> usize {
    // SAFETY: one instruction on a register.
    unsafe {
        core::arch::asm!(
            "and {value:e}, {mask}",
            value = inout(reg) value,
            mask = const N - 1,
            options(pure, nomem, nostack)
        );
    }
    value
}

/// The low 16 bits of `value`. In assembly, as the compiler would leave it out where a check has shown that there are no others.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn low16(value: u64) -> usize {
    let mut value = value as usize;
    // SAFETY: one instruction on a register.
    unsafe {
        core::arch::asm!("movzx {value:e}, {value:x}", value = inout(reg) value, options(pure, nomem, nostack, preserves_flags));
    }
    value
}

/// The same for Miri and other processors, where nothing is guessed.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod portable;
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) use portable::{
    against, available, is_packet, is_writable, load64, low16, low32, modulo, opaque, prefetch_for_write,
    store_plain_header, store64, zero_if_above,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_half_goes() {
        assert_eq!((low32(7), low32(u64::MAX)), (7, 0xffff_ffff));
        assert_eq!((low16(7), low16(u64::MAX), low16(0x1_0000)), (7, 0xffff, 0));
        assert_eq!((modulo::<8>(5), modulo::<8>(53), modulo::<1>(usize::MAX), modulo::<8>(usize::MAX)), (5, 5, 0, 7));
    }

    #[test]
    fn a_number_is_negative_within_or_above() {
        use core::cmp::Ordering::{Equal, Greater, Less};
        let all = [(-1, Less), (i64::MIN, Less), (0, Equal), (63, Equal), (64, Greater), (i64::MAX, Greater)];
        for (value, order) in all {
            assert_eq!(against::<63>(value as u64), order, "{value}");
        }
    }

    #[test]
    fn only_what_is_above_becomes_zero() {
        assert_eq!((zero_if_above(5, 5), zero_if_above(6, 5), zero_if_above(u64::MAX, 0)), (5, 0, 0));
    }
}
