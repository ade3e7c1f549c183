//! Exceptions and interrupts for the guest, in home only (rule G9).

use super::Next;
use crate::platform::descriptors;
use crate::vmx::field::Field;
use crate::vmx::instruction::{read, write};

const VALID: u64 = 1 << 31;
const ERROR_CODE: u64 = 1 << 11;
const HARDWARE_EXCEPTION: u64 = 3 << 8;
const INVALID_OPCODE: u64 = 6;
const GENERAL_PROTECTION: u64 = 13;

/// The NMI, the monitor's way to call a processor back, has done its work by exiting. What blocks the next one is lifted, here and in the guest, which knows of none.
/// See: SDM volume 3, table "Format of Interruptibility State".
pub fn end_nmi() -> Next {
    const BLOCKING_BY_NMI: u64 = 1 << 3;
    descriptors::end_nmi();
    write(Field::GuestInterruptibility, read(Field::GuestInterruptibility) & !BLOCKING_BY_NMI);
    Next::Resume
}

/// Gives an intercepted exception back to the guest.
pub fn reflect() -> Next {
    let info = read(Field::ExitInterruption);
    let keep = VALID | ERROR_CODE | 0x7ff;
    write(Field::EntryInterruption, info & keep);
    write(Field::EntryErrorCode, read(Field::ExitInterruptionErrorCode));
    write(Field::EntryInstructionLength, read(Field::InstructionLength));
    Next::Resume
}

/// The interrupt `vector`, which came from outside.
pub fn interrupt(vector: u64) {
    write(Field::EntryInterruption, VALID | vector);
}

/// Whether something is injected at the next entry.
pub fn is_something() -> bool {
    read(Field::EntryInterruption) & VALID != 0
}

/// #UD at the instruction that exited.
pub fn invalid_opcode() -> Next {
    write(Field::EntryInterruption, VALID | HARDWARE_EXCEPTION | INVALID_OPCODE);
    Next::Resume
}

/// #GP(0) at the instruction that exited.
pub fn general_protection() -> Next {
    write(Field::EntryInterruption, VALID | HARDWARE_EXCEPTION | ERROR_CODE | GENERAL_PROTECTION);
    write(Field::EntryErrorCode, 0);
    Next::Resume
}
