//! The registers that bytes are moved through, where somebody else may be changing them.
//!
//! # Why in assembly
//! A plain loop becomes a call to a library `memcpy`, which the window does not have (rule G12) and which would be free to read
//! a byte twice. Volatile accesses must be aligned, and frames are not.
#![allow(unsafe_code, reason = "moves bytes between two runs that its callers checked")]

mod vectors;
mod words;

use crate::word::store_plain_header;
use sluice_abi::net::HDR_LEN;
use vectors::{clear_vectors, copy_long, copy_vectors, headed_ends_of_vectors, headed_line_of_vectors, load_header};
use words::{copy_words, line_of_words};

/// Bytes of a frame that [`Lanes`] move at once.
pub const LINE: usize = 64;
const HDR: usize = HDR_LEN as usize;

/// Registers that bytes are moved through.
pub trait Lanes: Copy + sealed::Lanes {
    /// Clears what the copies left in vector registers. Whoever moved frames does that before anything else may use such a register: an
    /// older instruction on one with a new upper half costs some 250 ticks.
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
    /// As [`Lanes::scrub`]. No frame may follow.
    #[inline(always)]
    pub fn scrub(self) {
        self.0.scrub();
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

        /// Writes [`sluice_abi::net::PLAIN_HDR`] and, from `from`, a frame of `LEAST + beyond` bytes to `to`: `PIECES` registers of 32 bytes
        /// from the frame's start, and as many to its end.
        ///
        /// # Safety
        /// Those bytes are valid for reads and for writes, and the frame has as many bytes as `PIECES` registers, or up to twice as many.
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

        /// Loads the header that the frames after it go behind.
        fn load(self);

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
    unsafe fn headed_ends<const PIECES: usize, const LEAST: usize>(self, to: *mut u8, from: *const u8, beyond: usize) {
        // SAFETY: the caller's contract.
        unsafe { self.headed_long(to, from, LEAST + beyond) }
    }

    #[inline(always)]
    unsafe fn headed_long(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            store_plain_header(to, 0);
            copy_words(to.add(HDR), from, len);
        }
    }

    #[inline(always)]
    unsafe fn copy(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract.
        unsafe { copy_words(to, from, len) }
    }

    #[inline(always)]
    fn load(self) {}

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
    unsafe fn headed_ends<const PIECES: usize, const LEAST: usize>(self, to: *mut u8, from: *const u8, beyond: usize) {
        // SAFETY: as in line.
        unsafe { headed_ends_of_vectors::<PIECES, LEAST>(to, from, beyond) }
    }

    #[inline(always)]
    unsafe fn headed_long(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: as in line.
        unsafe {
            store_plain_header(to, 0);
            copy_long(to.add(HDR), from, len);
        }
    }

    #[inline(always)]
    unsafe fn copy(self, to: *mut u8, from: *const u8, len: usize) {
        // SAFETY: the caller's contract; there is AVX, says the token.
        unsafe { copy_vectors(to, from, len) }
    }

    #[inline(always)]
    fn load(self) {
        load_header();
    }

    #[inline(always)]
    fn clear(self) {
        clear_vectors();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    /// An interpreter takes its time.
    const STEP: usize = if cfg!(miri) { 19 } else { 1 };

    fn every_length(lanes: impl Lanes) {
        let from: Vec<u8> = (0..=255).cycle().take(2100).collect();
        for len in (0..300).step_by(STEP).chain([64, 767, 768, 1518, 2047]) {
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
