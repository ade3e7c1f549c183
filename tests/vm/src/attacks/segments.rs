//! FS and GS bases. See: SDM volume 3, "Fast Access to FS and GS Base Addresses" for the MSRs.

use super::cpu;

const FS_BASE: u32 = 0xc000_0100;

/// Sets both bases.
pub fn set_bases(base: u64) {
    cpu::write_msr(FS_BASE, base);
    cpu::write_msr(FS_BASE + 1, base);
}
