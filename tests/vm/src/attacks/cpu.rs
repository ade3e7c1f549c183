//! The processor, as attacks use it: registers that take an instruction of ring 0 or that Rust has no name for, waits
//! that are counted in instructions, and memory that no reference leads to.
//!
//! # Why all of these are safe to call
//! This image is alone in its VM, in ring 0, and its host has to survive whatever it does. Code of the image itself
//! depends on none of these registers but CR0, CR3, CR4, IDT and GDT, and each function says what its caller keeps of
//! them. An attack that keeps less ends its own VM, by an exception that the monitor reports and no test expects.
#![allow(unsafe_code, reason = "instructions of ring 0, registers that no type names, memory without references")]

use core::arch::asm;
use x86_64::instructions::tables::{lgdt, lidt, load_tss};
use x86_64::registers::control::{Cr0, Cr3, Cr4};
use x86_64::registers::model_specific::Msr;
use x86_64::registers::segmentation::SegmentSelector;
use x86_64::structures::DescriptorTablePointer;

/// Sets CR0, of which only TS may change.
pub fn set_cr0(value: u64) {
    // SAFETY: code of this image uses no registers that TS guards.
    unsafe { Cr0::write_raw(value) };
}

/// Sets CR2.
pub fn set_cr2(address: u64) {
    // SAFETY: the processor only reports in this register.
    unsafe { asm!("mov cr2, {}", in(reg) address, options(nomem, nostack, preserves_flags)) };
}

/// Returns CR3 with all its bits.
pub fn cr3() -> u64 {
    let (table, low) = Cr3::read_raw();
    table.start_address().as_u64() | u64::from(low)
}

/// Loads CR3. `root` has to map this image as the tables before did.
pub fn set_cr3(root: u64) {
    // SAFETY: the code that runs and the memory that it uses stay where they are.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Sets CR4, of which only PGE and UMIP may change.
pub fn set_cr4(value: u64) {
    // SAFETY: no translation of this image's is wrong for being kept, and only programs execute what UMIP forbids.
    unsafe { Cr4::write_raw(value) };
}

/// Sets DR6.
pub fn set_dr6(value: u64) {
    // SAFETY: the processor only reports in this register.
    unsafe { asm!("mov dr6, {}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}

/// Writes `value` to register `msr`: the VM's timer, or a segment base.
pub fn write_msr(msr: u32, value: u64) {
    // SAFETY: this image does not use the timer otherwise, nor FS and GS.
    unsafe { Msr::new(msr).write(value) };
}

const GS_BASE: u32 = 0xc000_0101;

/// Returns the base that SWAPGS keeps.
pub fn kept_gs_base() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: SWAPGS comes twice, and this image uses no GS.
    unsafe {
        asm!("swapgs", "rdmsr", "swapgs", in("ecx") GS_BASE, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Sets the base that SWAPGS keeps.
pub fn set_kept_gs_base(base: u64) {
    let (low, high) = (base as u32, (base >> 32) as u32);
    // SAFETY: as in `kept_gs_base`.
    unsafe {
        asm!("swapgs", "wrmsr", "swapgs", in("ecx") GS_BASE, in("eax") low, in("edx") high, options(nomem, nostack));
    }
}

/// Loads tables and task of `descriptors.rs`, in which the selectors of CS and SS name equal segments.
pub fn load_tables(gdt: &DescriptorTablePointer, idt: &DescriptorTablePointer, task: u16) {
    // SAFETY: the tables are static. CS and SS keep their cached descriptors.
    unsafe {
        lgdt(gdt);
        lidt(idt);
        load_tss(SegmentSelector(task));
    }
}

/// Loads an IDT. Each exception and each interrupt is an end of this VM if `idt` has no gate for it.
pub fn load_idt(idt: &DescriptorTablePointer) {
    // SAFETY: what has no gate shuts the processor down, and nothing runs after that.
    unsafe { lidt(idt) };
}

/// Fills every x87 register, and sets the control word to `control`, which masks all exceptions.
pub fn fill_x87(control: u16) {
    // SAFETY: code of this image keeps nothing in these registers, and all exceptions are masked.
    unsafe { asm!("fninit", "fldcw [{0}]", ".rept 8", "fldpi", ".endr", in(reg) &raw const control, options(nostack)) };
}

/// The memory that FXSAVE writes. See: SDM volume 1, table "Layout of the 64-bit Mode FXSAVE64 Map".
#[repr(C, align(16))]
pub struct Saved(pub [u8; 512]);

/// Returns the state of the x87 registers.
pub fn saved_x87() -> Saved {
    let mut saved = Saved([0; 512]);
    // SAFETY: the memory has 512 bytes and is aligned to 16.
    unsafe { asm!("fxsave64 [{0}]", in(reg) &raw mut saved, options(nostack, preserves_flags)) };
    saved
}

/// Fills every vector register with `word`.
pub fn fill_vectors(word: u64) {
    let words = [word; 4];
    // SAFETY: the host has AVX switched on, and code of this image keeps nothing in these registers.
    unsafe {
        asm!(
            ".irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu ymm\\number, [{0}]",
            ".endr",
            in(reg) words.as_ptr(),
            options(nostack, preserves_flags)
        );
    }
}

/// Returns the values of all vector registers.
pub fn vectors() -> [[u64; 4]; 16] {
    let mut words = [[0; 4]; 16];
    // SAFETY: as in `fill_vectors`; there is room for sixteen registers.
    unsafe {
        asm!(
            ".irp number, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "vmovdqu [{0} + 32 * \\number], ymm\\number",
            ".endr",
            in(reg) words.as_mut_ptr(),
            options(nostack, preserves_flags)
        );
    }
    words
}

/// Executes `instructions` instructions more than for 0.
#[inline(never)]
pub fn delay(instructions: u64) {
    // SAFETY: this is a loop of two instructions, and one more where the number is odd, and touches no memory.
    unsafe {
        asm!(
            "2: dec {pairs}",
            "jnz 2b",
            "test {odd}, 1",
            "jz 3f",
            "nop",
            "3:",
            pairs = inout(reg) 1 + instructions / 2 => _,
            odd = in(reg) instructions,
            options(nomem, nostack),
        );
    }
}

/// Waits until the counter is `target`, and then for the given number of instructions, in the slots of `nmi.rs`.
///
/// The first loop ends only when its two readings, four instructions apart, are in one slot. Of seven instructions, it
/// tries every place of a slot. The second loop has as many as a slot, so it stays at its place, and ends in the first
/// slot at or behind `target`.
#[inline(never)]
pub fn wait_until(target: u64, instructions: u64) {
    // SAFETY: these are two loops that read a counter, and touch no memory.
    unsafe {
        asm!(
            "2: rdtsc",
            "mov {low:e}, eax",
            "nop",
            "nop",
            "rdtsc",
            "cmp eax, {low:e}",
            "jne 2b",
            "3: rdtsc",
            "shl rdx, 32",
            "or rax, rdx",
            "cmp rax, {target}",
            "jb 3b",
            low = out(reg) _,
            target = in(reg) target,
            out("rax") _,
            out("rdx") _,
            options(nomem, nostack),
        );
    }
    delay(instructions);
}

/// Returns the word at `address`: of a table in force, of a [`Page`](super::page::Page), or of memory that is not this
/// VM's.
pub fn peek(address: u64) -> u64 {
    // SAFETY: nothing of the kind has a reference to it. Where nothing is mapped, the VM ends.
    unsafe { (address as *const u64).read_volatile() }
}

/// Changes such a word. Tables go on to map this image as they did.
pub fn poke(address: u64, word: u64) {
    // SAFETY: as in `peek`.
    unsafe { (address as *mut u64).write_volatile(word) };
}
