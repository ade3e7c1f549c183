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

    /// Reads the register of `width` at byte `offset`.
    ///
    /// # Panics
    /// If no such register lies inside the block.
    pub fn read(self, offset: u32, width: Width) -> u32 {
        match width {
            Width::One => load(self.register::<u8>(offset)).into(),
            Width::Two => load(self.register::<u16>(offset)).into(),
            Width::Four => load(self.register::<u32>(offset)),
        }
    }

    /// Writes the register of `width` at byte `offset`; bits of `value` above the width are dropped.
    ///
    /// # Panics
    /// If no such register lies inside the block.
    pub fn write(self, offset: u32, width: Width, value: u32) {
        match width {
            Width::One => store(self.register(offset), value as u8),
            Width::Two => store(self.register(offset), value as u16),
            Width::Four => store(self.register(offset), value),
        }
    }

    fn register<T>(self, offset: u32) -> VolatilePtr<'static, T> {
        let (at, size) = (u64::from(offset), size_of::<T>() as u64);
        assert!(at + size <= self.len && at.is_multiple_of(size), "no register of {size} bytes at {offset:#x}");
        // A block that has a register has an address.
        let register = NonNull::new(self.base.wrapping_add(offset as usize)).unwrap_or(NonNull::dangling());
        // SAFETY: the assertion holds the register to the bytes that `new` was promised, or that `from_words` borrows
        // for ever; their base is a multiple of 4.
        unsafe { VolatilePtr::new(register.cast()) }
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
