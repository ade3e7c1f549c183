//! Memory operands of instructions that exit with instruction information.

use super::Vm;
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use sluice_abi::Gva;

/// The linear address of the memory operand of a descriptor-table instruction that exited in 64-bit mode.
/// See: SDM volume 3, table "Format of the VM-Exit Instruction-Information Field as Used for LIDT, LGDT, SIDT, or SGDT".
pub fn address(vm: &Vm, info: u64) -> Gva {
    const INDEX_INVALID: u64 = 1 << 22;
    const BASE_INVALID: u64 = 1 << 27;
    let register = |number: u64| match number & 15 {
        4 => read(Field::GuestRsp),
        number => vm.registers.0[number as usize],
    };
    let mut at = read(Field::ExitQualification);
    if info & INDEX_INVALID == 0 {
        at = at.wrapping_add(register(info >> 18) << (info & 3));
    }
    if info & BASE_INVALID == 0 {
        at = at.wrapping_add(register(info >> 23));
    }
    if info >> 7 & 7 == 1 {
        at &= 0xffff_ffff;
    }
    Gva(at.wrapping_add(segment_base(info >> 15 & 7)))
}

/// In 64-bit mode only FS (4) and GS (5) have bases.
fn segment_base(segment: u64) -> u64 {
    match segment {
        4 => read(Field::GuestFsBase),
        5 => read(Field::GuestGsBase),
        _ => 0,
    }
}
