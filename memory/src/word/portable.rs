//! The same in plain Rust, for Miri and other processors, where nothing is guessed.

use crate::Entries;
use core::sync::atomic::{AtomicU64, Ordering};
use sluice_abi::call::Packet;
use sluice_abi::packed;
use sluice_abi::virtq::{Desc, DescF};

pub(crate) unsafe fn store_plain_header(to: *mut u8, at: usize) {
    // SAFETY: the caller's contract.
    unsafe { to.add(at).cast::<[u8; 12]>().write_unaligned(super::PLAIN_HDR) };
}

pub(crate) fn prefetch_for_write(_: *const u8) {}

pub(crate) unsafe fn load64(at: *const u8) -> u64 {
    // SAFETY: the caller's contract.
    unsafe { at.cast::<u64>().read_unaligned() }
}

pub(crate) unsafe fn store64(at: *mut u8, word: u64) {
    // SAFETY: the caller's contract.
    unsafe { at.cast::<u64>().write_unaligned(word) };
}

pub(crate) unsafe fn is_writable<const ONE_LINE: bool, const SCALE: usize>(
    table: *const Desc,
    at: usize,
    len: u32,
) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        let desc = table.wrapping_byte_add(at.wrapping_mul(SCALE));
        let (flags, room) = ((&raw const (*desc).flags).read_volatile(), (&raw const (*desc).len).read_volatile());
        flags == DescF::WRITE.bits() && room >= len
    }
}

pub(crate) unsafe fn available<const ONE_LINE: bool>(
    descs: *const packed::Desc,
    at: usize,
    flags: u16,
    len: u32,
) -> Option<u16> {
    // SAFETY: the caller's contract. As everywhere, the second half is one atomic word.
    let word = unsafe {
        let desc = descs.wrapping_byte_add(at.wrapping_mul(8));
        AtomicU64::from_ptr(desc.cast::<u64>().wrapping_add(1).cast_mut()).load(Ordering::Acquire)
    };
    ((word >> 48) as u16 == flags && word as u32 >= len).then_some((word >> 32) as u16)
}

pub(crate) unsafe fn is_packet<R: Entries>(packets: *const Packet, at: usize, word: u32) -> bool {
    // SAFETY: the caller's contract.
    unsafe {
        let packet = packets.wrapping_byte_add(at.wrapping_mul(size_of::<Packet>() / R::UNITS));
        packet.cast::<u32>().wrapping_add(1).read_volatile() == word
    }
}

pub(crate) fn against<const MOST: i32>(value: u64) -> core::cmp::Ordering {
    match value {
        value if (value as i64) < 0 => core::cmp::Ordering::Less,
        value if value <= MOST as u64 => core::cmp::Ordering::Equal,
        _ => core::cmp::Ordering::Greater,
    }
}

pub(crate) fn opaque(value: usize) -> usize {
    value
}

pub(crate) fn low32(value: u64) -> u64 {
    value & u64::from(u32::MAX)
}

pub(crate) fn modulo<const N: usize>(value: usize) -> usize {
    value & (N - 1)
}

pub(crate) fn low16(value: u64) -> usize {
    (value & 0xffff) as usize
}

pub(crate) fn zero_if_above(value: u64, most: u64) -> u64 {
    if value > most { 0 } else { value }
}
