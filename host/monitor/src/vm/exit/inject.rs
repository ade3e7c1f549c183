//! Exceptions and interrupts for the guest, in home only (rule G9).

use super::debug;
use crate::platform::{cpu, descriptors};
use crate::vm::emulate::fault::Fault;
use crate::vm::vm::Next;
use crate::vmx::field::Field;
use crate::vmx::guest;
use crate::vmx::instruction::{read, write};

const VALID: u64 = 1 << 31;
const ERROR_CODE: u64 = 1 << 11;
const TYPE: u64 = 7 << 8;
const VECTOR: u64 = 0xff;
const HARDWARE_EXCEPTION: u64 = 3 << 8;
const DEBUG: u64 = 1;

/// Ends an NMI, which was only meant to cause an exit: NMIs are unblocked on this processor and in the guest's
/// interruptibility state.
/// See: SDM volume 3, table "Format of Interruptibility State".
pub fn end_nmi() -> Next {
    const BLOCKING_BY_NMI: u64 = 1 << 3;
    descriptors::end_nmi();
    write(Field::GuestInterruptibility, read(Field::GuestInterruptibility) & !BLOCKING_BY_NMI);
    Next::Resume
}

/// Injects the exception that exited into the guest.
pub fn reflect() -> Next {
    let info = read(Field::ExitInterruption);
    if info & (TYPE | VECTOR) == HARDWARE_EXCEPTION | DEBUG {
        cpu::set_debug_status(debug::status(cpu::debug_status(), read(Field::ExitQualification)));
    }
    if info & VECTOR == DEBUG {
        write(Field::GuestDr7, debug::control(read(Field::GuestDr7)));
    }
    write(Field::EntryErrorCode, read(Field::ExitInterruptionErrorCode));
    write(Field::EntryInstructionLength, read(Field::InstructionLength));
    deliver(info & (VALID | ERROR_CODE | TYPE | VECTOR))
}

/// Injects the external interrupt `vector`.
pub fn interrupt(vector: u64) {
    write(Field::EntryInterruption, VALID | vector);
}

/// Returns whether an event is injected at the next entry.
pub fn is_something() -> bool {
    read(Field::EntryInterruption) & VALID != 0
}

/// Injects `fault` at the instruction that exited.
pub fn raise(fault: Fault) -> Next {
    if let Some(address) = fault.address {
        cpu::set_page_fault_address(address);
    }
    write(Field::EntryErrorCode, u64::from(fault.error.unwrap_or(0)));
    let error = if fault.error.is_some() { ERROR_CODE } else { 0 };
    deliver(VALID | HARDWARE_EXCEPTION | error | u64::from(fault.vector))
}

/// Injects #UD at the instruction that exited.
pub fn invalid_opcode() -> Next {
    raise(Fault::OPCODE)
}

/// Injects #GP(0) at the instruction that exited.
pub fn general_protection() -> Next {
    raise(Fault::PROTECTION)
}

fn deliver(event: u64) -> Next {
    guest::inject(event);
    Next::Resume
}
