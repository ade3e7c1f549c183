//! The instruction that exited, fetched again as the processor fetched it: the VMCS does not describe it completely.

use super::fault::Fault;
use super::segment::Segment;
use super::walk::{self, MemoryAccess};
use crate::vm::ram::Ram;
use crate::vmx::field::Field;
use crate::vmx::guest;
use crate::vmx::instruction::read;
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};

/// Length in bytes of the longest instruction. See: SDM volume 2, "Instruction Format".
const MAX_INSTRUCTION: usize = 15;
const PAGE: u64 = 4096;

/// Decodes the instruction at RIP. The bytes up to the end of the page are fetched together, and more of them one by
/// one: the page behind the instruction may be missing, or past the end of the segment.
pub fn instruction(ram: &Ram) -> Result<Instruction, Fault> {
    let (mut bytes, rip) = ([0; MAX_INSTRUCTION], read(Field::GuestRip));
    let in_page = MAX_INSTRUCTION.min((PAGE - rip % PAGE) as usize);
    let mut len = if fetch(ram, rip, &mut bytes[..in_page]).is_ok() { in_page } else { 0 };
    loop {
        let mut decoder = Decoder::with_ip(bitness(), &bytes[..len], rip, DecoderOptions::NONE);
        let instruction = decoder.decode();
        if len == MAX_INSTRUCTION || decoder.last_error() != DecoderError::NoMoreBytes {
            return Ok(instruction);
        }
        fetch(ram, rip.wrapping_add(len as u64), &mut bytes[len..=len])?;
        len += 1;
    }
}

fn fetch(ram: &Ram, offset: u64, bytes: &mut [u8]) -> Result<(), Fault> {
    let span = Segment::CODE.span(offset, bytes.len(), MemoryAccess::fetch())?;
    walk::load(ram, span, MemoryAccess::fetch(), bytes)
}

/// Returns the default operand size, by L and D (bits 13 and 14 of CS's access rights).
/// See: SDM volume 3, "Code Segment Descriptor in 64-bit Mode".
fn bitness() -> u32 {
    const BIG: u64 = 1 << 14;
    match (guest::is_64_bit(), read(Field::GuestCsRights) & BIG) {
        (true, _) => 64,
        (false, 0) => 16,
        (false, _) => 32,
    }
}

/// Returns whether an EPT violation was caused by the operand of the instruction at RIP, not by a page table, an
/// instruction fetch, or the stack or descriptor that the delivery of an event needs.
/// See: SDM volume 3, table "Exit Qualification for EPT Violations".
pub fn is_for_operand() -> bool {
    const FETCH: u64 = 1 << 2;
    const TRANSLATED: u64 = 0b11 << 7;
    const VALID: u64 = 1 << 31;
    let qualification = read(Field::ExitQualification);
    qualification & (FETCH | TRANSLATED) == TRANSLATED && read(Field::VectoringInfo) & VALID == 0
}

#[cfg(all(test, not(target_os = "none")))]
mod tests;
