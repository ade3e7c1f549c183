//! Frames of physical memory. They are given out and never taken back: a VM lives as long as the monitor.
#![allow(unsafe_code, reason = "zeroes the frames that it gives out")]

use core::fmt;
use sluice_abi::Hpa;
use spin::Mutex;

/// Bytes of a frame.
pub const FRAME: u64 = 4096;

/// No memory is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames;

impl fmt::Display for OutOfFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory left")
    }
}

/// What is free: from `small` up frames are given out, from `large` down large runs, so alignment wastes little.
struct Free {
    small: u64,
    large: u64,
}

static FREE: Mutex<Free> = Mutex::new(Free { small: 0, large: 0 });

/// Gives the allocator its memory, `from` up to `to`, one to one and nobody else's.
pub fn init(from: u64, to: u64) {
    *FREE.lock() = Free { small: from.next_multiple_of(FRAME), large: to & !(FRAME - 1) };
}

/// Bytes that are left.
pub fn left() -> u64 {
    let free = FREE.lock();
    free.large.saturating_sub(free.small)
}

/// A zeroed frame.
pub fn alloc() -> Result<Hpa, OutOfFrames> {
    alloc_contiguous(FRAME, FRAME)
}

/// `len` zeroed bytes in a row, at a multiple of `align` (a power of two, at least [`FRAME`]).
pub fn alloc_contiguous(len: u64, align: u64) -> Result<Hpa, OutOfFrames> {
    let at = take(len, align).ok_or(OutOfFrames)?;
    // SAFETY: inside the memory that init was given, taken just now, so nobody else has it.
    unsafe { core::ptr::write_bytes(at as *mut u8, 0, len as usize) };
    Ok(Hpa(at))
}

fn take(len: u64, align: u64) -> Option<u64> {
    let mut free = FREE.lock();
    let len = len.checked_next_multiple_of(FRAME)?;
    if align > FRAME {
        let at = free.large.checked_sub(len)? & !(align - 1);
        (at >= free.small).then(|| free.large = at).map(|()| at)
    } else {
        let at = free.small;
        let end = at.checked_add(len)?;
        (end <= free.large).then(|| free.small = end).map(|()| at)
    }
}
