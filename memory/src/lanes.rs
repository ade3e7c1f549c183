//! The registers that bytes are moved through, where somebody else may be changing the bytes.
//!
//! # Why not a plain loop
//! The compiler makes of it a call to a library `memcpy`, which the window does not have (rule G12) and which may read
//! a byte twice. Each access here is one instruction, of whatever alignment, as frames have none.
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

mod vectors;

use crate::slice::Unaligned;
use sluice_abi::net::{HDR_LEN, PLAIN_HDR};
pub use vectors::Avx;

/// Bytes of a frame that [`Lanes`] move at once.
pub const LINE: usize = 64;
/// Bytes of the header before a frame.
const HDR: usize = HDR_LEN as usize;
const WORD: usize = size_of::<u64>();
/// Bytes from which on the string instruction moves words faster: `cargo xtask bench rings`, frames of 512 and 1,024
/// bytes.
const LONG: usize = 768;

/// Registers that bytes are moved through.
pub trait Lanes: Copy + sealed::Lanes {
    /// Clears what the copies left in vector registers. Whoever moved frames does that before anything else may use
    /// such a register: an older instruction on one whose upper half is in use costs some 250 ticks.
    #[inline(always)]
    fn scrub(self) {
        sealed::Lanes::clear(self);
    }

    /// Returns these registers with what every frame's header needs loaded, up to [`Headed::scrub`].
    #[inline(always)]
    fn headed(self) -> Headed<Self> {
        sealed::Lanes::load(self);
        Headed(self)
    }
}

/// Registers for frames that each go behind a header, which was loaded once for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Headed<L>(pub(crate) L);

impl<L: Lanes> Headed<L> {
    /// Clears as [`Lanes::scrub`] does. No frame may follow.
    #[inline(always)]
    pub fn scrub(self) {
        self.0.scrub();
    }
}

pub(crate) mod sealed {
    pub trait Lanes {
        /// Writes [`sluice_abi::net::PLAIN_HDR`] and, from `from + from_at`, a frame of [`super::LINE`] bytes to `to +
        /// to_at`. Offsets are folded into the addressing mode, and the stores are few, as the store buffer is small.
        ///
        /// # Safety
        /// Those bytes are valid for reads and for writes.
        unsafe fn line(self, to: *mut u8, to_at: usize, from: *const u8, from_at: usize);

        /// Writes [`sluice_abi::net::PLAIN_HDR`] and, from `from`, a frame of `LEAST + beyond` bytes to `to`: `PIECES`
        /// registers of 32 bytes from the frame's start, and as many to its end.
        ///
        /// # Safety
        /// Those bytes are valid for reads and for writes, and the frame has as many bytes as `PIECES` registers, or up
        /// to twice as many.
        unsafe fn headed_ends<const PIECES: usize, const LEAST: usize>(
            self,
            to: *mut u8,
            from: *const u8,
            beyond: usize,
        );

        /// Writes [`sluice_abi::net::PLAIN_HDR`] and, from `from`, a frame of `len` bytes to `to`.
        ///
        /// # Safety
        /// Those bytes are valid for reads and for writes, and the frame has 512 bytes or more.
        unsafe fn headed_long(self, to: *mut u8, from: *const u8, len: usize);

        /// Copies `len` bytes. The last piece is a whole one, so some bytes are moved twice.
        ///
        /// # Safety
        /// `to` is valid for writes and `from` for reads of `len` bytes.
        unsafe fn copy(self, to: *mut u8, from: *const u8, len: usize);

        /// Loads the header of the frames that follow.
        fn load(self);

        /// Clears the vector registers that the copies use.
        fn clear(self);
    }
}

/// General registers, 8 bytes at a time. Every processor has them, and nothing needs to be saved or scrubbed.
#[derive(Clone, Copy, Debug)]
pub struct Words;

impl Lanes for Words {}
impl sealed::Lanes for Words {
    #[inline(always)]
    unsafe fn line(self, to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            let to = to.add(to_at);
            store_plain_header(to);
            copy_line(to.add(HDR), from.add(from_at));
        }
    }

    #[inline(always)]
    unsafe fn headed_ends<const PIECES: usize, const LEAST: usize>(self, to: *mut u8, from: *const u8, beyond: usize) {
        // SAFETY: the caller's contract.
        unsafe { self.headed_long(to, from, LEAST + beyond) }
    }

    #[inline(always)]
    unsafe fn headed_long(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            store_plain_header(to);
            self.copy(to.add(HDR), from, len);
        }
    }

    #[inline(never)]
    unsafe fn copy(self, to: *mut u8, from: *const u8, len: usize) {
        let mut at = 0;
        // SAFETY: the caller's contract; each access starts at 0 or later and ends at `len` or before.
        unsafe {
            if len >= LONG {
                copy_string(to, from, len);
            } else if let Some(last) = len.checked_sub(LINE) {
                while at < last {
                    copy_line(to.add(at), from.add(at));
                    at += LINE;
                }
                copy_line(to.add(last), from.add(last));
            } else {
                copy_short(to, from, len);
            }
        }
    }

    #[inline(always)]
    fn load(self) {}

    #[inline(always)]
    fn clear(self) {}
}

/// Copies a value of any alignment by one access each way.
///
/// # Safety
/// `to` is valid for writes and `from` for reads of a `T`, every bit pattern of which is valid.
#[inline(always)]
unsafe fn copy_one<T>(to: *mut u8, from: *const u8) {
    // SAFETY: the caller's contract; the packed wrapper has alignment 1.
    unsafe { to.cast::<Unaligned<T>>().write_volatile(from.cast::<Unaligned<T>>().read_volatile()) };
}

/// Writes [`PLAIN_HDR`] to `to`.
///
/// # Safety
/// Those bytes are valid for writes.
#[inline(always)]
unsafe fn store_plain_header(to: *mut u8) {
    const LOW: u64 = 0;
    const HIGH: [u8; HDR - WORD] = [PLAIN_HDR[8], PLAIN_HDR[9], PLAIN_HDR[10], PLAIN_HDR[11]];
    const { assert!(matches!(PLAIN_HDR, [0, 0, 0, 0, 0, 0, 0, 0, ..]), "an instruction holds the first word as 0") };
    // SAFETY: the caller's contract; the packed wrapper has alignment 1.
    unsafe {
        to.cast::<Unaligned<u64>>().write_volatile(Unaligned(LOW));
        to.add(WORD).cast::<Unaligned<u32>>().write_volatile(Unaligned(u32::from_le_bytes(HIGH)));
    }
}

/// Copies [`LINE`] bytes.
///
/// # Safety
/// As [`sealed::Lanes::copy`].
#[inline(always)]
unsafe fn copy_line(to: *mut u8, from: *const u8) {
    for word in 0..LINE / WORD {
        // SAFETY: the caller's contract: eight words from 0 to 64.
        unsafe { copy_one::<u64>(to.add(word * WORD), from.add(word * WORD)) };
    }
}

/// Copies less than [`LINE`] bytes.
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
                copy_one::<u64>(to.add(at), from.add(at));
                at += WORD;
            }
            copy_one::<u64>(to.add(last), from.add(last));
        } else {
            while at < len {
                copy_one::<u8>(to.add(at), from.add(at));
                at += 1;
            }
        }
    }
}

/// Copies `len` bytes by the string instruction. (An emulator that counts instructions counts each of its bytes.)
///
/// # Safety
/// As [`sealed::Lanes::copy`].
#[inline(always)]
unsafe fn copy_string(to: *mut u8, from: *const u8, len: usize) {
    assembly!({
        let (count, to, from) = (len, to, from);
        // SAFETY: the caller's contract. The direction flag is clear, as the ABI says and the gate makes sure of.
        unsafe {
            core::arch::asm!(
                "rep movsb",
                inout("rcx") count => _,
                inout("rdi") to => _,
                inout("rsi") from => _,
                options(nostack, preserves_flags)
            );
        }
    } else {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, len) }
    });
}

#[cfg(test)]
mod tests;
