//! The state of the guest that exited, as the current VMCS has it: mode, ring, flags, RIP, and the event to be
//! injected.

use super::field::Field;
use super::instruction::{read, write};

/// Bits of RFLAGS. See: SDM volume 3, "System Flags and Fields in the EFLAGS Register".
pub mod flags {
    /// Bit 1, which is always set.
    pub const FIXED: u64 = 1 << 1;
    /// TF: a debug exception follows each instruction.
    pub const TRAP: u64 = 1 << 8;
    /// IF: interrupts are on.
    pub const INTERRUPT: u64 = 1 << 9;
    /// RF: a breakpoint on the next instruction is ignored.
    pub const RESUME: u64 = 1 << 16;
}

/// Bits of the interruptibility state. See: SDM volume 3, table "Format of Interruptibility State".
const BLOCKING_BY_STI_OR_MOV_SS: u64 = 0b11;
/// A debug exception of a single step is pending. See: SDM volume 3, table "Format of Pending-Debug-Exceptions".
const SINGLE_STEP: u64 = 1 << 14;

/// Returns whether the guest is in 64-bit mode (bit 13 of CS's access rights). Else it is in compatibility mode: there
/// is no third mode, since the host owns EFER, CR0.PG and CR0.PE. See: SDM volume 3, "Guest Register State".
pub fn is_64_bit() -> bool {
    read(Field::GuestCsRights) >> 13 & 1 == 1
}

/// Returns the ring (bits 6:5 of SS's access rights). See: SDM volume 3, "Guest Register State".
pub fn ring() -> u64 {
    read(Field::GuestSsRights) >> 5 & 3
}

/// Returns whether the guest is in ring 0.
pub fn in_kernel() -> bool {
    ring() == 0
}

/// Returns whether the guest can pass the gate, which needs ring 0 and 64-bit mode: the gate reads CR3, and programs
/// have no access to its page.
pub fn can_call() -> bool {
    in_kernel() && is_64_bit()
}

/// Returns whether RFLAGS.IF is set.
pub fn interrupts_are_on() -> bool {
    read(Field::GuestRflags) & flags::INTERRUPT != 0
}

/// Returns whether an interrupt can be injected: interrupts are on, the instruction before does not block them, and no
/// debug exception is pending, which would be lost.
/// See: SDM volume 3, "Checks on Guest Non-Register State", "Delivery of Pending Debug Exceptions after VM Entry".
pub fn takes_interrupts() -> bool {
    interrupts_are_on()
        && read(Field::GuestInterruptibility) & BLOCKING_BY_STI_OR_MOV_SS == 0
        && read(Field::GuestPendingDebug) == 0
}

/// Ends the blocking by STI or MOV SS of the instruction before.
fn unblock() {
    write(Field::GuestInterruptibility, read(Field::GuestInterruptibility) & !BLOCKING_BY_STI_OR_MOV_SS);
}

/// Has the exception with the interruption information `event` injected at the next entry. Blocking by STI or MOV SS
/// ends: it does not block exceptions, and with it the processor would refuse to enter a guest that single-steps and
/// has no single step pending.
/// See: SDM volume 3, "Checks on Guest Non-Register State".
pub fn inject(event: u64) {
    unblock();
    write(Field::EntryInterruption, event);
}

/// Moves RIP past the instruction that exited, by the length that the processor reports.
pub fn skip() {
    advance(read(Field::InstructionLength));
}

/// Moves RIP past an instruction of `length` bytes that the monitor executed. Outside 64-bit mode RIP wraps at 32 bits,
/// also in a 16-bit segment, where it is past the limit then. A single step becomes pending, as after any instruction.
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
