//! The registers that bytes are moved through, where somebody else may be changing the bytes.
//!
//! # Why not a plain loop
//! The compiler makes of it a call to a library `memcpy`, which the window does not have (rule G12) and which may read
//! a byte twice. Each access here is one instruction, of whatever alignment, as frames have none.
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

mod vectors;

use sluice_abi::net::{HDR_LEN, PLAIN_HDR};
pub use vectors::Avx;

/// Bytes of a frame that [`Lanes`] move at once.
pub const LINE: usize = 64;
/// Most bytes that [`PeerSlice::read_short`](crate::PeerSlice::read_short) and its counterpart copy.
pub const SHORT: usize = 2 * LINE;
const HDR: usize = HDR_LEN as usize;
const WORD: usize = size_of::<u64>();
/// Bytes of a vector register, and bytes that a turn of the loop for long frames moves.
const VECTOR: usize = 32;
const TURN: usize = 128;
/// The header, and what the frame will lie over.
static HEADER: [[u8; HDR]; 2] = [PLAIN_HDR; 2];
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
}

pub(crate) mod sealed {
    pub trait Lanes: Sized {
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
        /// Those bytes are valid, and the frame has as many bytes as `PIECES` registers, or up to twice as many.
        unsafe fn headed_ends<const PIECES: usize, const LEAST: usize>(
            self,
            to: *mut u8,
            from: *const u8,
            beyond: usize,
        ) {
            // SAFETY: the caller's contract; registers without classes of lengths take any.
            unsafe { self.headed_long(to, from, LEAST + beyond) }
        }

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

        /// Copies at most [`super::SHORT`] bytes, in the caller's code, which clears the registers afterwards.
        ///
        /// # Safety
        /// As [`Lanes::copy`], for such a length.
        #[inline(always)]
        unsafe fn short(self, to: *mut u8, from: *const u8, len: usize) {
            // SAFETY: the caller's contract.
            unsafe { super::copy_short(to, from, len) }
        }

        /// Loads the header of the frames that follow.
        fn load(self) {}

        /// Clears the vector registers that the copies use.
        fn clear(self) {}
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
            store_plain_header(to, to_at);
            copy_words::<HDR, LINE>(to, to_at, from, from_at);
        }
    }

    #[inline(always)]
    unsafe fn headed_long(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            store_plain_header(to, 0);
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
                    copy_words::<0, LINE>(to, at, from, at);
                    at += LINE;
                }
                copy_words::<0, LINE>(to, last, from, last);
            } else {
                copy_short(to, from, len);
            }
        }
    }
}

/// Writes [`PLAIN_HDR`] to `to + at`.
///
/// # Safety
/// Those bytes are valid for writes.
#[inline(always)]
unsafe fn store_plain_header(to: *mut u8, at: usize) {
    const { assert!(matches!(PLAIN_HDR, [0, 0, 0, 0, 0, 0, 0, 0, ..]), "an instruction holds the first word as 0") };
    assembly!({
        const HIGH: u32 = u32::from_le_bytes([PLAIN_HDR[8], PLAIN_HDR[9], PLAIN_HDR[10], PLAIN_HDR[11]]);
        // SAFETY: the caller's contract.
        unsafe {
            core::arch::asm!(
                "mov qword ptr [{to} + {at}], 0", "mov dword ptr [{to} + {at} + 8], {high}",
                to = in(reg) to, at = in(reg) at, high = const HIGH, options(nostack, preserves_flags)
            );
        }
    } else {
        // SAFETY: the caller's contract.
        unsafe { to.add(at).cast::<[u8; HDR]>().write(PLAIN_HDR) };
    });
}

/// Copies `LEN` bytes, whole words up to [`LINE`], from `from + from_at` to `to + to_at + GAP`, each word read once.
///
/// # Safety
/// Those bytes are valid for reads and for writes.
#[inline(always)]
unsafe fn copy_words<const GAP: usize, const LEN: usize>(to: *mut u8, to_at: usize, from: *const u8, from_at: usize) {
    const { assert!(LEN <= LINE && LEN.is_multiple_of(WORD)) };
    assembly!({
        // SAFETY: the caller's contract: words from 0 to LEN.
        unsafe {
            core::arch::asm!(
                ".irp word, 0, 8, 16, 24, 32, 40, 48, 56",
                ".if \\word < {len}",
                "mov {value}, qword ptr [{from} + {from_at} + \\word]",
                "mov qword ptr [{to} + {to_at} + {gap} + \\word], {value}",
                ".endif",
                ".endr",
                value = out(reg) _, from = in(reg) from, from_at = in(reg) from_at, len = const LEN,
                to = in(reg) to, to_at = in(reg) to_at, gap = const GAP, options(nostack, preserves_flags)
            );
        }
    } else {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from.add(from_at), to.add(GAP + to_at), LEN) };
    });
}

/// Copies `LEN` bytes from the start and as many to the end of `len`, so some are moved twice.
///
/// # Safety
/// As [`sealed::Lanes::copy`], and `len` is `LEN` or more.
#[inline(always)]
unsafe fn copy_ends<const LEN: usize>(to: *mut u8, from: *const u8, len: usize) {
    let last = len - LEN;
    // SAFETY: the caller's contract; the accesses start at 0 or later and end at `len`.
    unsafe {
        copy_words::<0, LEN>(to, 0, from, 0);
        copy_words::<0, LEN>(to, last, from, last);
    }
}

/// Copies at most [`SHORT`] bytes, in the caller's code: a head of a frame, or what changed in one. There is no loop
/// over words.
///
/// # Safety
/// As [`sealed::Lanes::copy`], for such a length.
#[inline(always)]
pub(crate) unsafe fn copy_short(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's contract, and the bound of each class.
    unsafe {
        match len {
            LINE.. => copy_ends::<LINE>(to, from, len),
            32.. => copy_ends::<32>(to, from, len),
            16.. => copy_ends::<16>(to, from, len),
            WORD.. => copy_ends::<WORD>(to, from, len),
            _ => (0..len).for_each(|at| to.add(at).write_volatile(from.add(at).read_volatile())),
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
        // SAFETY: the caller's contract. The direction flag is clear, as the ABI says and the gate makes sure of.
        unsafe {
            core::arch::asm!(
                "rep movsb", inout("rcx") len => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags)
            );
        }
    } else {
        // SAFETY: the caller's contract.
        unsafe { core::ptr::copy(from, to, len) };
    });
}

#[cfg(test)]
mod tests;
