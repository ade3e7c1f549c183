//! Sleeping until the network device tells of a frame, or for a while. See: `sluice_abi::lapic`.
//!
//! While a VNF polls, interrupts are off, the device's line is masked, and its driver asks for no notification. For a
//! sleep the line is unmasked and interrupts are on for HLT alone: STI holds interrupts back until the instruction
//! behind it has begun, so none comes before HLT and is slept over. The timer is armed with its interrupt masked: an
//! expiry ends a HLT of this host's VMs in any case, and nothing is to be handled.

use super::cpu::{DEVICE_VECTOR, Host, LocalApic, take_interrupt};
use crate::clock::{self, Counter};
use core::arch::x86_64::__cpuid;
use core::time::Duration;
use sluice_abi::call::CPUID_BASE;
use sluice_abi::lapic::{CPUID_LINE, CPUID_TIMER, LEVEL, MASKED, MODE_TSC_DEADLINE};
use sluice_driver::{Registers, acknowledge};
use x86_64::instructions::{hlt, interrupts};

/// Halts the VM until `device` tells of a used buffer, or `time` has passed; without a timer, gives the turn away.
pub fn halt(host: Host, device: &mut impl Registers, time: Duration) {
    let features = __cpuid(CPUID_BASE + 1).ecx;
    if features & CPUID_TIMER == 0 {
        return host.yield_now();
    }
    host.write(LocalApic::Timer, MODE_TSC_DEADLINE | MASKED);
    host.write(LocalApic::Deadline, clock::now().saturating_add(ticks(time)));
    if features & CPUID_LINE == 0 {
        hlt();
    } else {
        host.write(LocalApic::Line, LEVEL | DEVICE_VECTOR as u64);
        interrupts::enable_and_hlt();
        interrupts::disable();
        host.write(LocalApic::Line, MASKED);
        if take_interrupt() {
            // The line falls before the interrupt is over, or there would be another.
            acknowledge(device);
            host.write(LocalApic::EndOfInterrupt, 0);
        }
    }
    host.write(LocalApic::Timer, MASKED);
}

/// Returns the ticks of the counter in `time`. A tick counts as a nanosecond where nobody says how long it is.
fn ticks(time: Duration) -> u64 {
    let rate = match clock::counter() {
        Counter::Cycles(Some(rate)) => rate,
        Counter::Cycles(None) | Counter::Instructions => 1_000_000_000,
    };
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}
