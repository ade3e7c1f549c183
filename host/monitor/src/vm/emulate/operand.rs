//! Operands of the descriptor-table instructions, from the VM-exit instruction information.
//! See: SDM volume 3, tables "Format of the VM-Exit Instruction-Information Field as Used for LIDT, LGDT, SIDT, or
//! SGDT", "… for LLDT, LTR, SLDT, and STR".

use super::fault::Fault;
use super::segment::Segment;
use super::walk::{MemoryAccess, Span};
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use crate::vmx::registers::Registers;

/// Returns register `number` modulo 16.
pub fn register(registers: &Registers, number: u64) -> u64 {
    match (number & 15) as usize {
        Registers::RSP => read(Field::GuestRsp),
        number => registers.0[number],
    }
}

/// Returns the number of the register operand of LLDT, LTR, SLDT or STR; `None` if the operand is in memory.
pub fn in_register(info: u64) -> Option<u64> {
    const REGISTER: u64 = 1 << 10;
    (info & REGISTER != 0).then_some(info >> 3 & 15)
}

/// Returns where the operand of `len` bytes in memory lies, if the segment allows `access` there.
pub fn in_memory(registers: &Registers, info: u64, len: usize, access: MemoryAccess) -> Result<Span, Fault> {
    const INDEX_INVALID: u64 = 1 << 22;
    const BASE_INVALID: u64 = 1 << 27;
    let mut offset = read(Field::ExitQualification);
    if info & INDEX_INVALID == 0 {
        offset = offset.wrapping_add(register(registers, info >> 18) << (info & 3));
    }
    if info & BASE_INVALID == 0 {
        offset = offset.wrapping_add(register(registers, info >> 23));
    }
    let offset = match info >> 7 & 7 {
        0 => offset & 0xffff,
        1 => offset & 0xffff_ffff,
        _ => offset,
    };
    Segment::new(info >> 15).ok_or(Fault::PROTECTION)?.span(offset, len, access)
}
