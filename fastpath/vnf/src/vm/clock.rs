//! The processor's tick counter, and whether its ticks are instructions or time.

use crate::clock::Counter;
use core::arch::asm;
use raw_cpuid::CpuId;

/// Returns the ticks since the processor started.
#[inline(always)]
#[allow(unsafe_code, reason = "RDTSC")]
pub fn now() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter. LFENCE lets everything before it end first, as the counter is read out of order otherwise.
    // No `nomem`: what is measured must not be moved across.
    unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) };
    high << 32 | low
}

/// Returns what [`now`] counts.
pub fn counter() -> Counter {
    if are_instructions() { Counter::Instructions } else { Counter::Cycles(per_second()) }
}

/// Whether each instruction is exactly one tick: an emulator that counts instructions, on one CPU.
fn are_instructions() -> bool {
    (0..2).all(|_| run::<200>() == 201 && run::<1000>() == 1001)
}

/// Ticks in a second, where the processor says. See: SDM volume 2, "CPUID", leaf 15H "Time Stamp Counter and Nominal Core Crystal
/// Clock Information", and leaf 16H "Processor Frequency Information", whose base frequency is the counter's where 15H is silent.
fn per_second() -> Option<u64> {
    let cpuid = CpuId::new();
    let base =
        || cpuid.get_processor_frequency_info().map(|info| u64::from(info.processor_base_frequency()) * 1_000_000);
    cpuid.get_tsc_info().and_then(|info| info.tsc_frequency()).or_else(base).filter(|&rate| rate > 0)
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
