//! The timer of a VM: what of a local APIC a Sluice host has, under the numbers that any kernel knows.
//!
//! See: SDM volume 3, "TSC-Deadline Mode", "x2APIC Register Address Space" and figure "Local Vector Table (LVT)". A write that the subset has no
//! meaning for is a #GP, as a reserved bit is there.
//!
//! # Why CPUID leaf 1 does not tell
//! Its bits for x2APIC and TSC-deadline promise a whole local APIC: identity, priorities, messages, errors. A kernel that believed them would
//! use all that. So the host says in its own leaf what there is: [`CPUID_TIMER`].

/// Bit of ECX in the leaf behind [`crate::call::CPUID_BASE`]: the three registers are there.
pub const CPUID_TIMER: u32 = 1 << 0;

/// MSR: value of the time-stamp counter at which the timer expires; 0: it is not armed. It reads 0 once it has expired.
pub const IA32_TSC_DEADLINE: u32 = 0x6e0;
/// MSR: vector (7:0), [`MASKED`], and mode (18:17), of which there is [`MODE_TSC_DEADLINE`] alone. After a start: masked.
pub const X2APIC_LVT_TIMER: u32 = 0x832;
/// MSR: a write of 0 ends the handling of the interrupt. The next one waits for it.
pub const X2APIC_EOI: u32 = 0x80b;

/// Bit of [`X2APIC_LVT_TIMER`]: an expiry causes no interrupt.
pub const MASKED: u64 = 1 << 16;
/// Mode of [`X2APIC_LVT_TIMER`]: by [`IA32_TSC_DEADLINE`].
pub const MODE_TSC_DEADLINE: u64 = 2 << 17;
/// Lower vectors are no interrupts'.
pub const FIRST_VECTOR: u64 = 16;
