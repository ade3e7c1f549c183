//! Sleeping for a while. See: `sluice_abi::timer`.
//!
//! The timer is armed with its interrupt masked: an expiry ends a HLT of this host's VMs in any case, and nothing is to be handled.
#![allow(unsafe_code, reason = "MSRs and HLT")]

use super::{clock, host};
use crate::clock::Counter;
use core::arch::{asm, x86_64::__cpuid};
use core::time::Duration;
use sluice_abi::call::CPUID_BASE;
use sluice_abi::timer::{CPUID_TIMER, IA32_TSC_DEADLINE, MASKED, MODE_TSC_DEADLINE, X2APIC_LVT_TIMER};

/// Halts the VM until `time` has passed; without a timer, gives the turn away.
pub fn halt(time: Duration) {
    if __cpuid(CPUID_BASE + 1).ecx & CPUID_TIMER == 0 {
        return host::yield_now();
    }
    write(X2APIC_LVT_TIMER, MODE_TSC_DEADLINE | MASKED);
    write(IA32_TSC_DEADLINE, clock::now().saturating_add(ticks(time)));
    // SAFETY: ring 0; the timer that was just armed ends it.
    unsafe { asm!("hlt", options(nostack, preserves_flags)) };
    write(X2APIC_LVT_TIMER, MASKED);
}

/// Ticks of the counter in `time`; a nanosecond each where nobody says how long a tick is.
fn ticks(time: Duration) -> u64 {
    let rate = match clock::counter() {
        Counter::Cycles(Some(rate)) => rate,
        Counter::Cycles(None) | Counter::Instructions => 1_000_000_000,
    };
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

fn write(register: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: ring 0; the host says that the register is there, and none of them moves memory.
    unsafe { asm!("wrmsr", in("ecx") register, in("eax") low, in("edx") high, options(nostack, preserves_flags)) };
}
