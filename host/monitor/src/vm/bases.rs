//! Bases of descriptor tables and TSS, none of which may reach the sluice slot (rule G14): for an event in the window
//! the processor would read an IDT or TSS in the slot through the window's tables.

use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use sluice_abi::map;

/// Largest length in bytes of a table or TSS.
const LARGEST: u64 = 0x1_0000;
/// Bytes that one entry of the top-level table covers. All mappings of gate and window views lie in one entry.
const PML4_ENTRY: u64 = 1 << 39;

/// Returns whether a table at `base` could reach into the slot.
pub fn reaches_slot(base: u64) -> bool {
    base.wrapping_add(LARGEST).wrapping_sub(map::SLOT_VA) < PML4_ENTRY + LARGEST
}

/// Returns whether any base in force reaches into the slot.
pub fn any_reaches_slot() -> bool {
    [Field::GuestGdtrBase, Field::GuestIdtrBase, Field::GuestTrBase].into_iter().any(|base| reaches_slot(read(base)))
}
