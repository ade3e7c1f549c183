//! Bases of descriptor tables and TSS: none may reach the sluice slot (rule G14).
//!
//! An IDT or TSS inside the slot would be read through the window's tables if an event were vectored there.

use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use sluice_abi::map;

/// Tables and TSS end at most this many bytes after their base.
const LARGEST: u64 = 0x1_0000;
/// Bytes that one entry of the top-level table covers: all that gate and window views map lies in one.
const PML4_ENTRY: u64 = 1 << 39;

/// Whether a table at `base` could reach into the slot.
pub fn reaches_slot(base: u64) -> bool {
    base.wrapping_add(LARGEST).wrapping_sub(map::SLOT_VA) < PML4_ENTRY + LARGEST
}

/// Whether any base in force reaches into the slot.
pub fn any_reaches_slot() -> bool {
    [Field::GuestGdtrBase, Field::GuestIdtrBase, Field::GuestTrBase].into_iter().any(|base| reaches_slot(read(base)))
}
