//! How a PCI function is reached.
#![allow(unsafe_code, reason = "device registers")]

use core::arch::asm;
use sluice_abi::pci::CONFIG_LEN;

/// How many bytes an access has. A field is accessed by its own width. See: VIRTIO 4.1.3.1 "Driver Requirements: PCI Device Layout".
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
    /// Bytes.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// Configuration space and BARs of a PCI function.
pub trait Function {
    /// The 32 bits of configuration space at byte `offset`, a multiple of 4 below [`CONFIG_LEN`].
    fn config(&mut self, offset: u16) -> u32;
    /// Writes the 32 bits of configuration space at byte `offset`, as above.
    fn set_config(&mut self, offset: u16, value: u32);
    /// Bytes of BAR `bar` that can be reached; 0 if there is no such BAR.
    fn bar_len(&mut self, bar: u8) -> u64;
    /// Reads at `offset` of BAR `bar`, within its length, aligned.
    fn read(&mut self, bar: u8, offset: u32, width: Width) -> u32;
    /// Writes at `offset` of BAR `bar`, within its length, aligned.
    fn write(&mut self, bar: u8, offset: u32, width: Width, value: u32);
}

/// A function whose configuration space and BARs are mapped.
pub struct MappedFunction {
    config: *mut u8,
    /// Start and bytes, by number.
    bars: [(*mut u8, u64); 6],
}

impl MappedFunction {
    /// The function whose configuration space is at `config`, as PCI Express maps it, and whose BARs are at `bars`: start and bytes of
    /// each, 0 bytes for what is not there.
    ///
    /// # Safety
    /// [`CONFIG_LEN`] bytes at `config`, and each BAR, are mapped registers of that function for as long as the result lives, and nothing
    /// else. They are aligned to 4 bytes.
    pub const unsafe fn new(config: *mut u8, bars: [(*mut u8, u64); 6]) -> Self {
        Self { config, bars }
    }

    fn place(&self, bar: u8, offset: u32, width: Width) -> *mut u8 {
        let (start, len) = self.bars.get(usize::from(bar)).copied().unwrap_or((self.config, 0));
        assert!(u64::from(offset) + u64::from(width.bytes()) <= len, "nothing at {offset:#x} of BAR {bar}");
        start.wrapping_add(offset as usize)
    }

    fn config_place(&self, offset: u16) -> *mut u8 {
        assert!(offset < CONFIG_LEN && offset.is_multiple_of(4), "nothing at {offset:#x} of configuration space");
        self.config.wrapping_add(offset.into())
    }
}

/// By plain MOV and MOVZX, as [`super::super::VirtioMmio`].
impl Function for MappedFunction {
    fn config(&mut self, offset: u16) -> u32 {
        // SAFETY: within the registers that `new` was promised, aligned.
        unsafe { read(self.config_place(offset), Width::Four) }
    }

    fn set_config(&mut self, offset: u16, value: u32) {
        // SAFETY: as in config.
        unsafe { write(self.config_place(offset), Width::Four, value) };
    }

    fn bar_len(&mut self, bar: u8) -> u64 {
        self.bars.get(usize::from(bar)).map_or(0, |&(_, len)| len)
    }

    fn read(&mut self, bar: u8, offset: u32, width: Width) -> u32 {
        // SAFETY: `place` checked the bounds of what `new` was promised.
        unsafe { read(self.place(bar, offset, width), width) }
    }

    fn write(&mut self, bar: u8, offset: u32, width: Width, value: u32) {
        // SAFETY: as in read.
        unsafe { write(self.place(bar, offset, width), width, value) };
    }
}

/// # Safety
/// There are registers of `width` at `at`.
unsafe fn read(at: *mut u8, width: Width) -> u32 {
    let value;
    // SAFETY: the caller's contract.
    unsafe {
        match width {
            Width::One => {
                asm!("movzx {:e}, byte ptr [{}]", out(reg) value, in(reg) at, options(nostack, preserves_flags));
            }
            Width::Two => {
                asm!("movzx {:e}, word ptr [{}]", out(reg) value, in(reg) at, options(nostack, preserves_flags));
            }
            Width::Four => {
                asm!("mov {:e}, dword ptr [{}]", out(reg) value, in(reg) at, options(nostack, preserves_flags));
            }
        }
    }
    value
}

/// # Safety
/// There are registers of `width` at `at`.
unsafe fn write(at: *mut u8, width: Width, value: u32) {
    // SAFETY: the caller's contract.
    unsafe {
        match width {
            Width::One => {
                asm!("mov byte ptr [{}], {}", in(reg) at, in(reg_byte) value as u8, options(nostack, preserves_flags));
            }
            Width::Two => {
                asm!("mov word ptr [{}], {:x}", in(reg) at, in(reg) value, options(nostack, preserves_flags));
            }
            Width::Four => {
                asm!("mov dword ptr [{}], {:e}", in(reg) at, in(reg) value, options(nostack, preserves_flags));
            }
        }
    }
}
