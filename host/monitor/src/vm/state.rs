//! What a guest executes in, as the processor reports it: mode, ring, flags, and where it goes on.

use crate::vmx::field::Field;
use crate::vmx::instruction::{read, write};

/// See: SDM volume 3, "System Flags and Fields in the EFLAGS Register".
pub mod flags {
    /// Always set.
    pub const FIXED: u64 = 1 << 1;
    /// Single steps.
    pub const TRAP: u64 = 1 << 8;
    /// Interrupts are taken.
    pub const INTERRUPT: u64 = 1 << 9;
    /// The next instruction's breakpoint does not hit.
    pub const RESUME: u64 = 1 << 16;
}

/// See: SDM volume 3, table "Format of Interruptibility State".
const BLOCKING_BY_STI_OR_MOV_SS: u64 = 0b11;
/// A single step that is yet to be told. See: SDM volume 3, table "Format of Pending-Debug-Exceptions".
const SINGLE_STEP: u64 = 1 << 14;

/// 64-bit mode, else compatibility mode: there is no other, as the host owns EFER, CR0.PG and CR0.PE. Bit 13 of CS's access rights.
/// See: SDM volume 3, "Guest Register State".
pub fn is_64_bit() -> bool {
    read(Field::GuestCsRights) >> 13 & 1 == 1
}

/// The ring. See: SDM volume 3, "Guest Register State" for bits 6:5 of SS's access rights.
pub fn ring() -> u64 {
    read(Field::GuestSsRights) >> 5 & 3
}

/// Whether the guest is in ring 0.
pub fn in_kernel() -> bool {
    ring() == 0
}

/// Whether the guest is in what can pass the gate: ring 0 in 64-bit mode. The gate reads CR3, and its page is no program's.
pub fn can_call() -> bool {
    in_kernel() && is_64_bit()
}

/// Whether RFLAGS.IF is set.
pub fn interrupts_are_on() -> bool {
    read(Field::GuestRflags) & flags::INTERRUPT != 0
}

/// Whether an interrupt can be injected: interrupts are on, the instruction before does not hold them back, and no debug exception comes first,
/// which would be lost. See: SDM volume 3, "Checks on Guest Non-Register State", "Delivery of Pending Debug Exceptions after VM Entry".
pub fn takes_interrupts() -> bool {
    interrupts_are_on()
        && read(Field::GuestInterruptibility) & BLOCKING_BY_STI_OR_MOV_SS == 0
        && read(Field::GuestPendingDebug) == 0
}

/// The instruction before holds back nothing any more.
pub fn unblock() {
    write(Field::GuestInterruptibility, read(Field::GuestInterruptibility) & !BLOCKING_BY_STI_OR_MOV_SS);
}

/// Has an exception injected at the next entry: `event` is the interruption information. None is held back by the instruction before, and a processor that
/// single-steps would not be entered with what holds it back and no single step pending.
/// See: SDM volume 3, "Checks on Guest Non-Register State".
pub fn inject(event: u64) {
    unblock();
    write(Field::EntryInterruption, event);
}

/// Goes on behind an instruction of `length` bytes that the monitor executed. RIP has 32 bits outside 64-bit mode, and no fewer: past the
/// end of a 16-bit segment is a fault. A single step is told behind the instruction, as it would be.
/// See: SDM volume 3, "Checks on Guest RIP, RFLAGS, and SSP", "Segment Wraparound".
pub fn advance(length: u64) {
    let next = read(Field::GuestRip).wrapping_add(length);
    write(Field::GuestRip, if is_64_bit() { next } else { next & 0xffff_ffff });
    unblock();
    if read(Field::GuestRflags) & flags::TRAP != 0 {
        write(Field::GuestPendingDebug, read(Field::GuestPendingDebug) | SINGLE_STEP);
    }
}

#[cfg(all(test, not(target_os = "none")))]
mod tests;
