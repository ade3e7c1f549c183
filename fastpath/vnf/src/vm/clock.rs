//! What the ticks of a VM's processor are: instructions or time.

use crate::clock::{Counter, ticks_of_run};
use raw_cpuid::CpuId;

/// Returns what [`crate::clock::now`] counts.
pub fn counter() -> Counter {
    if are_instructions() { Counter::Instructions } else { Counter::Cycles(per_second()) }
}

/// Returns the time by the host's clock, the time-stamp counter, as [`crate::clock::about_now`] does.
pub fn host_time() -> u64 {
    crate::clock::about_now()
}

/// Returns whether each instruction is exactly one tick: an emulator that counts instructions, on one CPU.
fn are_instructions() -> bool {
    (0..2).all(|_| ticks_of_run::<200>() == 201 && ticks_of_run::<1000>() == 1001)
}

/// Returns the ticks in a second, where the processor says. See: SDM volume 2, "CPUID", leaf 15H "Time Stamp Counter
/// and Nominal Core Crystal Clock Information", and leaf 16H "Processor Frequency Information", whose base frequency is
/// the counter's where 15H is silent.
fn per_second() -> Option<u64> {
    let cpuid = CpuId::new();
    let base =
        || cpuid.get_processor_frequency_info().map(|info| u64::from(info.processor_base_frequency()) * 1_000_000);
    cpuid.get_tsc_info().and_then(|info| info.tsc_frequency()).or_else(base).filter(|&rate| rate > 0)
}
