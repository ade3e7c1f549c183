//! Model-specific registers.
#![allow(unsafe_code, reason = "privileged instructions")]

/// Reads an MSR that exists (the caller's business: a missing one is a fault, reported by the exception handler).
pub fn read(msr: u32) -> u64 {
    // SAFETY: CPL 0; reading an MSR has no effect on memory.
    unsafe { x86_64::registers::model_specific::Msr::new(msr).read() }
}

/// Writes an MSR. Only for those of `vmx` and `platform`: none of them moves memory under Rust's feet.
pub(crate) fn write(msr: u32, value: u64) {
    // SAFETY: CPL 0; the callers write IA32_FEATURE_CONTROL, IA32_TSX_CTRL, local APIC registers, and what only guests use.
    unsafe { x86_64::registers::model_specific::Msr::new(msr).write(value) };
}
