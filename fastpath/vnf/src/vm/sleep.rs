//! Sleeping until the network device tells of a frame, or for a while. See: `sluice_abi::lapic`.
//!
//! While a VNF polls, interrupts are off, the device's line is masked, and its driver asks to be told of nothing. For a sleep the line is unmasked
//! and interrupts are on for HLT alone: STI holds interrupts back until the instruction behind it has begun, so none comes before HLT and is slept
//! over. The timer is armed with its interrupt masked: an expiry ends a HLT of this host's VMs in any case, and nothing is to be handled.
#![allow(unsafe_code, reason = "MSRs, the interrupt flag, HLT, and what the processor enters")]

use super::{clock, host};
use crate::clock::Counter;
use core::arch::{asm, naked_asm, x86_64::__cpuid};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use sluice_abi::call::CPUID_BASE;
use sluice_abi::lapic::{
    CPUID_LINE, CPUID_TIMER, IA32_TSC_DEADLINE, LEVEL, MASKED, MODE_TSC_DEADLINE, X2APIC_EOI, X2APIC_LVT_LINT0,
    X2APIC_LVT_TIMER,
};
use sluice_driver::{Registers, acknowledge};

/// Vector of the device's interrupt: the first that is no exception's.
pub const VECTOR: usize = 32;

/// The interrupt came, and is in service.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Halts the VM until `device` tells of a used buffer, or `time` has passed; without a timer, gives the turn away.
pub fn halt(device: &mut impl Registers, time: Duration) {
    let features = __cpuid(CPUID_BASE + 1).ecx;
    if features & CPUID_TIMER == 0 {
        return host::yield_now();
    }
    write(X2APIC_LVT_TIMER, MODE_TSC_DEADLINE | MASKED);
    write(IA32_TSC_DEADLINE, clock::now().saturating_add(ticks(time)));
    if features & CPUID_LINE == 0 {
        // SAFETY: ring 0; the timer that was just armed ends it.
        unsafe { asm!("hlt", options(nostack, preserves_flags)) };
    } else {
        write(X2APIC_LVT_LINT0, LEVEL | VECTOR as u64);
        // SAFETY: ring 0, and the image's own stack, which has no red zone; the handler changes nothing but `TOLD`. The timer ends it at the latest.
        unsafe { asm!("pushfq", "sti", "hlt", "popfq") };
        write(X2APIC_LVT_LINT0, MASKED);
        if TOLD.swap(false, Relaxed) {
            // The line falls before the interrupt is over, or there would be another.
            acknowledge(device);
            write(X2APIC_EOI, 0);
        }
    }
    write(X2APIC_LVT_TIMER, MASKED);
}

/// What the processor enters with the device's interrupt. The next one waits until [`halt`] has ended this one.
#[unsafe(naked)]
pub extern "sysv64" fn told() -> ! {
    naked_asm!("mov byte ptr [rip + {told}], 1", "iretq", told = sym TOLD)
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
