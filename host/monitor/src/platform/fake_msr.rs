//! Stands for `msr.rs` where there is no VMX: a processor on which every control can be on or off.

/// As RDMSR. See: SDM volume 3, appendix "VMX Capability Reporting Facility".
pub fn read(msr: u32) -> u64 {
    const MAY_BE_1: u64 = 0xffff_ffff << 32;
    if (0x48b..=0x490).contains(&msr) { MAY_BE_1 } else { 0 }
}

/// As WRMSR, to no effect.
pub fn write(_: u32, _: u64) {}
