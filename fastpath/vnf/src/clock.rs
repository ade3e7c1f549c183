//! The processor's tick counter: what a VNF tells time by, without asking its host.

pub use crate::machine::{counter, host_time};
use core::arch::asm;

/// The unit of the tick counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Instructions, one tick each: the processor is an emulator.
    Instructions,
    /// Cycles of a clock, and how many of them are a second, where that is known.
    Cycles(Option<u64>),
}

impl Counter {
    /// Returns what a tick is.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Cycles(_) => "cycles",
        }
    }
}

/// Returns the ticks since the machine started.
#[inline(always)]
#[allow(unsafe_code, reason = "RDTSC")]
pub fn now() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter. LFENCE lets everything before it end first, as the counter is read out of order
    // otherwise. No `nomem`: what is measured must not be moved across.
    unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) };
    high << 32 | low
}

/// Returns the ticks since the machine started as [`now`] does, for a fraction of its cost: the counter may be read
/// before what comes earlier has ended, by as many instructions as the processor has under way. That is about a
/// microsecond at most: good for telling whether a time is over, and not for measuring. See: SDM volume 2, "RDTSC".
#[inline(always)]
#[allow(unsafe_code, reason = "RDTSC")]
pub fn about_now() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) };
    high << 32 | low
}

/// Returns the ticks from one RDTSC to the next, with `LENGTH` do-nothing instructions and one MOV between.
#[cfg(target_os = "none")]
#[allow(unsafe_code, reason = "RDTSC")]
pub(crate) fn ticks_of_run<const LENGTH: usize>() -> u32 {
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
