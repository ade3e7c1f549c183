//! FS and GS bases. See: SDM volume 3, "Fast Access to FS and GS Base Addresses" for the MSRs.

use super::msr;

const FS_BASE: u32 = 0xc000_0100;

/// Sets both bases.
pub fn set_bases(base: u64) {
    msr::write(FS_BASE, base);
    msr::write(FS_BASE + 1, base);
}
