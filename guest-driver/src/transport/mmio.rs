//! How a driver reaches its device's registers.

use core::arch::asm;
use sluice_abi::mmio::WINDOW_LEN;

/// Registers of a virtio-mmio device. See: VIRTIO 4.2.2 "MMIO Device Register Layout".
pub trait Transport {
    /// Reads the 32-bit register at byte offset `register`.
    fn read(&mut self, register: u32) -> u32;
    /// Writes the 32-bit register at byte offset `register`.
    fn write(&mut self, register: u32, value: u32);
}

/// Registers in memory.
pub struct VirtioMmio {
    base: *mut u32,
}

#[allow(unsafe_code, reason = "device registers")]
impl VirtioMmio {
    /// The device whose registers start at `base`.
    ///
    /// # Safety
    /// [`WINDOW_LEN`] bytes from `base` are device registers, mapped for as long as the result lives.
    pub const unsafe fn new(base: *mut u32) -> Self {
        Self { base }
    }

    fn register(&self, register: u32) -> *mut u32 {
        assert!(u64::from(register) < WINDOW_LEN && register.is_multiple_of(4), "no register at {register:#x}");
        self.base.wrapping_byte_add(register as usize)
    }
}

/// By plain MOV, which hosts that emulate registers understand; a volatile access may be folded into an arithmetic instruction.
#[allow(unsafe_code, reason = "device registers")]
impl Transport for VirtioMmio {
    fn read(&mut self, register: u32) -> u32 {
        let value;
        // SAFETY: within the registers that `new` was promised, aligned.
        unsafe {
            asm!("mov {:e}, dword ptr [{}]", out(reg) value, in(reg) self.register(register), options(nostack, preserves_flags))
        };
        value
    }

    fn write(&mut self, register: u32, value: u32) {
        // SAFETY: as in read.
        unsafe {
            asm!("mov dword ptr [{}], {:e}", in(reg) self.register(register), in(reg) value, options(nostack, preserves_flags))
        };
    }
}
