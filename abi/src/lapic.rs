//! The interrupts of a VM, its timer's and its network device's: the part of a local APIC that a Sluice host has, under
//! the usual register numbers.
//!
//! See: SDM volume 3, "TSC-Deadline Mode", "x2APIC Register Address Space" and figure "Local Vector Table (LVT)". A
//! write that this part does not define is a #GP, as a write of a reserved bit is.
//!
//! The device's interrupt line, which VIRTIO leaves to the platform (4.2.3.4 "Notifications From The Device"), is the
//! pin LINT0 of the local APIC: high while InterruptStatus is not 0. One interrupt is in service at a time, whatever
//! its vector.
//!
//! # Why CPUID leaf 1 does not tell
//! Its bits for x2APIC and TSC-deadline promise a whole local APIC: identity, priorities, messages, errors. A kernel
//! that believed them would use all that. So the host's own leaf tells what there is: [`CPUID_TIMER`].

/// Bit of ECX in the leaf behind [`crate::call::CPUID_BASE`]: the VM has [`IA32_TSC_DEADLINE`], [`X2APIC_LVT_TIMER`]
/// and [`X2APIC_EOI`].
pub const CPUID_TIMER: u32 = 1 << 0;

/// Bit of ECX in the same leaf: the VM has [`X2APIC_LVT_LINT0`], to which the device's interrupt line leads.
pub const CPUID_LINE: u32 = 1 << 1;

/// MSR: value of the time-stamp counter at which the timer expires; 0 while the timer is not armed, and once it has
/// expired.
pub const IA32_TSC_DEADLINE: u32 = 0x6e0;
/// MSR: vector (7:0), [`MASKED`], and mode (18:17), of which there is [`MODE_TSC_DEADLINE`] alone. After a start:
/// masked.
pub const X2APIC_LVT_TIMER: u32 = 0x832;
/// MSR: vector (7:0), delivery mode fixed (10:8 are 0), active high (13 is 0), [`LEVEL`], and [`MASKED`]. After a
/// start: masked.
pub const X2APIC_LVT_LINT0: u32 = 0x835;
/// MSR: a write of 0 ends the handling of an interrupt. The next interrupt waits for that.
pub const X2APIC_EOI: u32 = 0x80b;

/// Bit of [`X2APIC_LVT_LINT0`]: level-triggered, the only mode that there is. An interrupt is pending for as long as
/// the line is high.
pub const LEVEL: u64 = 1 << 15;
/// Bit of [`X2APIC_LVT_TIMER`] and [`X2APIC_LVT_LINT0`]: the source causes no interrupt.
pub const MASKED: u64 = 1 << 16;
/// Mode of [`X2APIC_LVT_TIMER`]: the timer expires at [`IA32_TSC_DEADLINE`].
pub const MODE_TSC_DEADLINE: u64 = 2 << 17;
/// Lowest vector of an interrupt.
pub const FIRST_VECTOR: u64 = 16;
