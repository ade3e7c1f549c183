//! Single accesses and register operations that must be just what they say: the compiler may neither read twice nor
//! leave out a check that it has already seen.
#![allow(unsafe_code, reason = "one or two instructions each, on memory that the callers checked")]

use crate::{Entries, LINE};
use core::cmp::Ordering;
use core::mem::offset_of;
use sluice_abi::call::Packet;
use sluice_abi::net::HDR_LEN;
use sluice_abi::packed;
use sluice_abi::virtq::{Desc, DescF};

/// Bytes of a header and a line.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const HEADED_LINE: u32 = HDR_LEN + LINE as u32;

/// Begins to fetch the cache line at `at` and the next one, to be written. Nothing is read and nothing faults, wherever
/// `at` leads. See: SDM volume 2, "PREFETCHW".
#[inline(always)]
pub(crate) fn prefetch_for_write(at: *const u8) {
    assembly!({
        // SAFETY: both instructions are hints.
        unsafe {
            core::arch::asm!(
                "prefetchw byte ptr [{at}]",
                "prefetchw byte ptr [{at} + 64]",
                at = in(reg) at,
                options(nostack, preserves_flags)
            );
        }
    } else {
        let _ = at;
    })
}

/// Begins to fetch the cache line at `at`, to be read. Nothing is read and nothing faults, wherever `at` leads.
#[inline(always)]
pub(crate) fn prefetch(at: *const u8) {
    assembly!({
        // SAFETY: the instruction is a hint.
        unsafe { core::arch::asm!("prefetcht0 byte ptr [{at}]", at = in(reg) at, options(nostack, preserves_flags)) };
    } else {
        let _ = at;
    })
}

/// Returns whether the descriptor at `table + SCALE * at` has no flag but [`DescF::WRITE`] and a length of at least
/// `len`; each field is read once. The compiler would load what an instruction can compare in place. `ONE_LINE`: `len`
/// is that of a header and [`LINE`] bytes, which needs no register.
///
/// # Safety
/// The descriptor is valid for reads, and aligned.
#[inline(always)]
pub(crate) unsafe fn is_writable<const ONE_LINE: bool, const SCALE: usize>(
    table: *const Desc,
    at: usize,
    len: u32,
) -> bool {
    assembly!({
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
        // SAFETY: the caller's contract; two fields of the descriptor are read.
        unsafe {
            if ONE_LINE {
                compare!("{len}", const HEADED_LINE);
            } else {
                compare!("{len:e}", in(reg) len);
            }
        }
        true
    } else {
        // SAFETY: the caller's contract.
        unsafe {
            let desc = table.wrapping_byte_add(at.wrapping_mul(SCALE));
            let (flags, room) = ((&raw const (*desc).flags).read_volatile(), (&raw const (*desc).len).read_volatile());
            flags == DescF::WRITE.bits() && room >= len
        }
    })
}

/// Returns the id of the packed descriptor at `descs + 8 * at` if its flags are `flags` and its length is at least
/// `len`; each field is read once, the flags first. `ONE_LINE`: as in [`is_writable`].
///
/// # Safety
/// The descriptor is valid for reads, and aligned.
#[inline(always)]
pub(crate) unsafe fn available<const ONE_LINE: bool>(
    descs: *const packed::Desc,
    at: usize,
    flags: u16,
    len: u32,
) -> Option<u16> {
    assembly!({
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
        // SAFETY: the caller's contract; three fields of the descriptor are read.
        unsafe {
            if ONE_LINE {
                compare!("{len}", const HEADED_LINE);
            } else {
                compare!("{len:e}", in(reg) len);
            }
            let desc = descs.wrapping_byte_add(at.wrapping_mul(8));
            Some((&raw const (*desc).id).read_volatile())
        }
    } else {
        // SAFETY: the caller's contract. The second half of a descriptor is one atomic word here, as everywhere.
        let word = unsafe {
            let desc = descs.wrapping_byte_add(at.wrapping_mul(8));
            let word = desc.cast::<u64>().wrapping_add(1).cast_mut();
            core::sync::atomic::AtomicU64::from_ptr(word).load(core::sync::atomic::Ordering::Acquire)
        };
        ((word >> 48) as u16 == flags && word as u32 >= len).then_some((word >> 32) as u16)
    })
}

/// Returns whether length, peer and flags of the packet at `packets`, `at` units of [`Entries`] further on, are `word`.
/// They are read once.
///
/// # Safety
/// The packet is valid for reads, and aligned.
#[inline(always)]
pub(crate) unsafe fn is_packet<R: Entries>(packets: *const Packet, at: usize, word: u32) -> bool {
    const SIZE: usize = size_of::<Packet>();
    assembly!({
        // SAFETY: the caller's contract; the second half of the packet is read.
        unsafe {
            core::arch::asm!(
                "cmp dword ptr [{packets} + {size} * {at} + {len}], {word:e}",
                "jne {no}",
                packets = in(reg) packets,
                at = in(reg) at,
                word = in(reg) word,
                size = const SIZE / R::UNITS,
                len = const offset_of!(Packet, len),
                no = label { return false },
                options(nostack, readonly)
            );
        }
        true
    } else {
        // SAFETY: the caller's contract.
        unsafe {
            let packet = packets.wrapping_byte_add(at.wrapping_mul(SIZE / R::UNITS));
            packet.cast::<u32>().wrapping_add(1).read_volatile() == word
        }
    })
}

/// Returns whether `value`, a number with a sign, is negative (`Less`), at most `MOST` (`Equal`), or above. The
/// compiler would compare twice where one comparison tells both.
#[inline(always)]
pub(crate) fn against<const MOST: i32>(value: u64) -> Ordering {
    assembly!({
        // SAFETY: a register is compared.
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
    } else {
        match value as i64 {
            ..0 => Ordering::Less,
            value if value <= MOST.into() => Ordering::Equal,
            _ => Ordering::Greater,
        }
    })
}

/// Returns `value`, of which the compiler knows nothing any more. No instruction is executed. A mask that follows stays
/// where a check has already shown that it changes nothing, and a loop's counter stays in one register for every exit
/// of the loop.
#[inline(always)]
pub(crate) fn opaque(value: usize) -> usize {
    #[allow(unused_mut, reason = "only the assembly changes it")]
    let mut value = value;
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: nothing is executed.
    unsafe {
        core::arch::asm!("/* {} */", inout(reg) value, options(pure, nomem, nostack, preserves_flags));
    }
    value
}

/// Returns `value`, or 0 where it is above `most`, without a branch that the processor could predict wrongly. The
/// compiler would drop a comparison that was already made.
#[inline(always)]
pub(crate) fn zero_if_above(value: u64, most: u64) -> u64 {
    assembly!({
        let mut value = value;
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
    } else {
        if value > most { 0 } else { value }
    })
}
