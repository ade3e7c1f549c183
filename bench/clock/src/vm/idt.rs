//! The interrupt descriptor table with one gate more: all others stay with `sluice_vnf`, the timer's vector comes here.
#![allow(unsafe_code, reason = "descriptor tables")]

use super::timer;
use core::arch::asm;
use core::cell::UnsafeCell;

/// Gates that `sluice_vnf` has: of exceptions (SDM volume 3, table "Protected-Mode Exceptions and Interrupts"), and of
/// the network device's interrupt.
const VECTORS: usize = 33;
const _: () = assert!(timer::VECTOR as usize == VECTORS);
/// These, and the timer's.
const GATES: usize = VECTORS + 1;

#[repr(C, align(16))]
struct Idt(UnsafeCell<[[u64; 2]; GATES]>);

// SAFETY: the one CPU writes the table in `install`, before it tells the processor about it; afterwards nobody writes.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new([[0; 2]; GATES]));

/// The operand of LIDT and SIDT. See: SDM volume 3, figure "Pseudo-Descriptor Formats".
#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Lets `entry` handle the timer's vector; all others go where they went before. Interrupts are off.
pub fn install(entry: usize) {
    let mut old = Pointer { limit: 0, base: 0 };
    // SAFETY: stores ten bytes, which is the size of `old`.
    unsafe { asm!("sidt [{}]", in(reg) &raw mut old, options(nostack, preserves_flags)) };
    let size = size_of::<[[u64; 2]; VECTORS]>();
    assert!(usize::from(old.limit) + 1 >= size, "the table has fewer gates than that of sluice_vnf");
    // SAFETY: the processor uses VECTORS gates there, which nobody writes any more; RAM is mapped one to one.
    // Interrupts are off and no exception returns, so nobody reads IDT while it is written.
    unsafe {
        let table = &mut *IDT.0.get();
        let exceptions = &*(old.base as *const [[u64; 2]; VECTORS]);
        table[..VECTORS].copy_from_slice(exceptions);
        table[VECTORS] = gate(entry, exceptions[0]);
    }
    let new = Pointer { limit: size_of::<Idt>() as u16 - 1, base: IDT.0.get().addr() as u64 };
    // SAFETY: the table is static, and each of its gates leads to a handler.
    unsafe { asm!("lidt [{}]", in(reg) &raw const new, options(nostack, preserves_flags, readonly)) };
}

/// A gate to `entry` with selector and type of `like`, an interrupt gate. See: SDM volume 3, figure "64-Bit IDT Gate
/// Descriptors".
fn gate(entry: usize, like: [u64; 2]) -> [u64; 2] {
    const KEPT: u64 = 0x0000_ffff_ffff_0000;
    let to = entry as u64;
    [like[0] & KEPT | to & 0xffff | (to >> 16 & 0xffff) << 48, to >> 32]
}
