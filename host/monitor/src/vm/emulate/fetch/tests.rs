//! Instructions as the processor fetched them.

use super::*;
use crate::vm::emulate::walk::tests::Guest;
use crate::vmx::instruction::write;
use iced_x86::{Mnemonic, Register};

const OPEN: u64 = 0b111;
const NO_EXECUTE: u64 = 1 << 63;
const CODE_64: u64 = 0xa0fb;
const CODE_32: u64 = 0xc0fb;
const CODE_16: u64 = 0x80fb;

/// A program at `rip`, whose page 0 is there with the bits `bits`, and has `code` in its last word.
fn program(code: u64, bits: u64, rights: u64, rip: u64) -> Guest {
    let guest = Guest::new();
    guest.map(0, 6, bits);
    guest.set(7 * PAGE - 8, code);
    write(Field::GuestCsRights, rights);
    write(Field::GuestCsLimit, 0xffff_ffff);
    write(Field::GuestCsBase, 0);
    write(Field::GuestSsRights, 0xc0f3);
    write(Field::GuestRip, rip);
    guest
}

/// MOV ECX, EAX in the last two bytes of a page; the next is not there. One byte of it is a fault at the next page.
#[test]
fn an_instruction_ends_where_it_ends() {
    let guest = program(0xc189 << 48, OPEN, CODE_64, PAGE - 2);
    let instruction = instruction(&guest.ram).unwrap();
    assert_eq!((instruction.mnemonic(), instruction.len()), (Mnemonic::Mov, 2));
    let guest = program(0x89 << 56, OPEN, CODE_64, PAGE - 1);
    assert_eq!(super::instruction(&guest.ram), Err(Fault::page(0x14, PAGE)));
}

#[test]
fn an_instruction_is_fetched_where_it_may_be() {
    for (bits, error) in [(OPEN & !0b100, 0x15), (OPEN | NO_EXECUTE, 0x15), (0, 0x14)] {
        let guest = program(0, bits, CODE_64, PAGE - 8);
        assert_eq!(instruction(&guest.ram), Err(Fault::page(error, PAGE - 8)), "{bits:#x}");
    }
    let guest = program(0, OPEN, CODE_32, PAGE - 8);
    write(Field::GuestCsLimit, PAGE - 9);
    assert_eq!(instruction(&guest.ram), Err(Fault::PROTECTION));
}

/// 89 C1, in each mode; and CS's base counts in compatibility mode alone.
#[test]
fn an_instruction_means_what_its_mode_says() {
    for (rights, register) in [(CODE_64, Register::ECX), (CODE_32, Register::ECX), (CODE_16, Register::CX)] {
        let guest = program(0xc189, OPEN, rights, PAGE - 8);
        assert_eq!(instruction(&guest.ram).unwrap().op0_register(), register, "{rights:#x}");
    }
    let guest = program(0xc148, OPEN, CODE_32, 0);
    write(Field::GuestCsBase, PAGE - 8);
    assert_eq!(instruction(&guest.ram).unwrap().mnemonic(), Mnemonic::Dec, "no REX");
}

/// Bits 7 and 8: there is a linear address, and the violation is behind its translation; bit 2: a fetch. No event was
/// being delivered.
#[test]
fn a_violation_may_be_for_something_else() {
    for (qualification, vectoring, wanted) in [
        (0x181, 0, true),
        (0x182, 0, true),
        (0x184, 0, false),
        (0x81, 0, false),
        (0x1, 0, false),
        (0x181, 1 << 31, false),
    ] {
        write(Field::ExitQualification, qualification);
        write(Field::VectoringInfo, vectoring);
        assert_eq!(is_for_operand(), wanted, "{qualification:#x} {vectoring:#x}");
    }
}
