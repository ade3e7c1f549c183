//! A run of device registers in memory, accessed by the crate `volatile`: the one place of this crate that touches
//! memory by address.
#![allow(unsafe_code, reason = "device registers")]

use core::ptr::NonNull;
use volatile::VolatilePtr;

/// The number of bits of one access. A field is accessed by its own width. See: VIRTIO 4.1.3.1 "Driver Requirements:
/// PCI Device Layout", 4.2.2.2 "Driver Requirements: MMIO Device Register Layout".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 8 bits
    One,
    /// 16 bits
    Two,
    /// 32 bits
    Four,
}

impl Width {
    /// Returns the width in bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// A run of mapped device registers. The device changes them at any time.
#[derive(Clone, Copy, Debug)]
pub struct RegisterBlock {
    base: *mut u8,
    len: u64,
}

impl RegisterBlock {
    /// Returns the block of `len` bytes from `base`; a block of 0 bytes has no register.
    ///
    /// # Safety
    /// The bytes are mapped device registers for as long as the result and its copies live, no Rust reference leads
    /// into them, and `base` is a multiple of 4.
    pub const unsafe fn new(base: *mut u8, len: u64) -> Self {
        Self { base, len }
    }

    /// Returns `words` as registers: a device that is made of memory, for a test.
    pub const fn from_words(words: &'static mut [u32]) -> Self {
        Self { base: words.as_mut_ptr().cast(), len: size_of_val(words) as u64 }
    }

    /// Returns the length in bytes.
    pub const fn len(self) -> u64 {
        self.len
    }

    /// Returns whether the block has no register.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Reads the register of `width` at byte `offset`. Where the block has no such register, all bits are 1, as where
    /// no device answers.
    pub fn read(self, offset: u32, width: Width) -> u32 {
        match width {
            Width::One => self.register::<u8>(offset).map_or(u8::MAX, load).into(),
            Width::Two => self.register::<u16>(offset).map_or(u16::MAX, load).into(),
            Width::Four => self.register::<u32>(offset).map_or(u32::MAX, load),
        }
    }

    /// Writes the register of `width` at byte `offset`; bits of `value` above the width are dropped. Where the block
    /// has no such register, nothing is written.
    pub fn write(self, offset: u32, width: Width, value: u32) {
        match width {
            Width::One => self.register(offset).into_iter().for_each(|register| store(register, value as u8)),
            Width::Two => self.register(offset).into_iter().for_each(|register| store(register, value as u16)),
            Width::Four => self.register(offset).into_iter().for_each(|register| store(register, value)),
        }
    }

    fn register<T>(self, offset: u32) -> Option<VolatilePtr<'static, T>> {
        let (at, size) = (u64::from(offset), size_of::<T>() as u64);
        let inside = at + size <= self.len && at.is_multiple_of(size);
        let register = NonNull::new(self.base.wrapping_add(offset as usize)).filter(|_| inside)?;
        // SAFETY: the register is within the bytes that `new` was promised, or that `from_words` borrows for ever;
        // their base is a multiple of 4.
        Some(unsafe { VolatilePtr::new(register.cast()) })
    }
}

/// Reads one register.
///
/// The function is never inlined: a host that emulates registers decodes MOV and MOVZX, and the compiler may fold an
/// inlined volatile read into an arithmetic instruction.
#[inline(never)]
fn load<T: Copy>(register: VolatilePtr<'static, T>) -> T {
    register.read()
}

/// Writes one register. The function is never inlined, for the reason given at [`load`].
#[inline(never)]
fn store<T: Copy>(register: VolatilePtr<'static, T>, value: T) {
    register.write(value);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn where_no_register_is_all_bits_are_1_and_nothing_is_written() {
        let block = RegisterBlock::from_words(std::vec![0x0403_0201, 0x0807_0605].leak());
        assert_eq!(
            (block.read(5, Width::One), block.read(6, Width::Two), block.read(4, Width::Four)),
            (6, 0x807, 0x0807_0605)
        );
        for (offset, width, ones) in [
            (8, Width::One, 0xff),
            (7, Width::Two, 0xffff),
            (5, Width::Two, 0xffff),
            (8, Width::Two, 0xffff),
            (6, Width::Four, u32::MAX),
            (8, Width::Four, u32::MAX),
            (u32::MAX, Width::Four, u32::MAX),
        ] {
            block.write(offset, width, 0);
            assert_eq!(block.read(offset, width), ones, "{offset} {width:?}");
        }
        assert_eq!([0, 4].map(|offset| block.read(offset, Width::Four)), [0x0403_0201, 0x0807_0605]);
    }
}
