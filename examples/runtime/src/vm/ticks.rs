//! The processor's tick counter, and whether its ticks are instructions or time.

use core::arch::asm;

/// Ticks since the processor started.
#[inline(always)]
#[allow(unsafe_code, reason = "RDTSC")]
pub fn now() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter. LFENCE lets everything before it end first, as the counter is read out of order otherwise.
    // No `nomem`: what is measured must not be moved across.
    unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) };
    high << 32 | low
}

/// Whether each instruction is exactly one tick: an emulator that counts instructions, on one CPU.
pub fn are_instructions() -> bool {
    (0..2).all(|_| run::<200>() == 201 && run::<1000>() == 1001)
}

/// Ticks from one RDTSC to the next, with `LENGTH` do-nothing instructions and one MOV between.
#[allow(unsafe_code, reason = "RDTSC")]
fn run<const LENGTH: usize>() -> u32 {
    let (before, after): (u32, u32);
    // SAFETY: reads a counter twice.
    unsafe {
        asm!(
            "rdtsc", "mov {before:e}, eax", ".rept {length}", "nop", ".endr", "rdtsc",
            before = out(reg) before, out("eax") after, out("edx") _, length = const LENGTH, options(nostack, nomem),
        );
    }
    after.wrapping_sub(before).wrapping_sub(1)
}
