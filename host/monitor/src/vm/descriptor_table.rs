//! LGDT, LIDT, LLDT, LTR and their stores: bases that reach the sluice slot are refused (`bases.rs`).

use super::bases::reaches_slot;
use super::exit::{self, reason};
use super::{Next, Vm, inject, operand, walk};
use crate::vmx::field::Field;
use crate::vmx::instruction::{read, write};
use sluice_abi::Gva;

/// Does what the guest asked, if the bases allow it.
pub fn emulate(vm: &mut Vm, reason: u16) -> Next {
    let info = read(Field::InstructionInfo);
    let done = match (reason, info >> 28 & 3) {
        (reason::GDTR_IDTR, 0) => store(vm, info, Field::GuestGdtrBase, Field::GuestGdtrLimit),
        (reason::GDTR_IDTR, 1) => store(vm, info, Field::GuestIdtrBase, Field::GuestIdtrLimit),
        (reason::GDTR_IDTR, 2) => load(vm, info, Field::GuestGdtrBase, Field::GuestGdtrLimit),
        (reason::GDTR_IDTR, _) => load(vm, info, Field::GuestIdtrBase, Field::GuestIdtrLimit),
        (_, 2) => selector(vm, info).is_some_and(|selector| selector & !3 == 0 && no_ldt()),
        (_, 3) => selector(vm, info).is_some_and(|selector| load_task(vm, selector)),
        _ => false,
    };
    if done { exit::skip(Next::Resume) } else { inject::general_protection() }
}

fn cr3() -> u64 {
    read(Field::GuestCr3)
}

fn store(vm: &Vm, info: u64, base: Field, limit: Field) -> bool {
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&(read(limit) as u16).to_le_bytes());
    bytes[2..].copy_from_slice(&read(base).to_le_bytes());
    walk::write(&vm.ram, cr3(), operand::address(vm, info), &bytes)
}

fn load(vm: &Vm, info: u64, base: Field, limit: Field) -> bool {
    let mut bytes = [0; 10];
    if walk::read(&vm.ram, cr3(), operand::address(vm, info), &mut bytes) < bytes.len() {
        return false;
    }
    let [low, high, address @ ..] = bytes;
    let address = u64::from_le_bytes(address);
    let fine = !reaches_slot(address) && canonical(address);
    if fine {
        write(limit, u64::from(u16::from_le_bytes([low, high])));
        write(base, address);
    }
    fine
}

fn canonical(address: u64) -> bool {
    let sign = (address as i64) >> 47;
    sign == 0 || sign == -1
}

/// The selector operand of LLDT or LTR. See: SDM volume 3, table "... as Used for LLDT, LTR, SLDT, and STR".
fn selector(vm: &Vm, info: u64) -> Option<u16> {
    const REGISTER: u64 = 1 << 10;
    if info & REGISTER != 0 {
        return Some(match info >> 3 & 15 {
            4 => read(Field::GuestRsp) as u16,
            number => vm.registers.0[number as usize] as u16,
        });
    }
    let mut bytes = [0; 2];
    (walk::read(&vm.ram, cr3(), operand::address(vm, info), &mut bytes) == 2).then(|| u16::from_le_bytes(bytes))
}

fn no_ldt() -> bool {
    write(Field::GuestLdtrSelector, 0);
    write(Field::GuestLdtrRights, 1 << 16);
    true
}

/// LTR, from the guest's own GDT. See: SDM volume 3, "TSS Descriptor in 64-bit mode".
fn load_task(vm: &Vm, selector: u16) -> bool {
    const AVAILABLE_TSS: u64 = 0x89;
    let offset = u64::from(selector & !7);
    if selector & 4 != 0 || offset == 0 || offset + 15 > read(Field::GuestGdtrLimit) {
        return false;
    }
    let Some(at) = Gva(read(Field::GuestGdtrBase)).checked_add(offset) else { return false };
    let mut bytes = [0; 16];
    if walk::read(&vm.ram, cr3(), at, &mut bytes) < bytes.len() {
        return false;
    }
    let word = u128::from_le_bytes(bytes);
    let (low, high) = (word as u64, (word >> 64) as u64);
    let base = (low >> 16 & 0xff_ffff) | (low >> 32 & 0xff00_0000) | high << 32;
    if low >> 40 & 0xff != AVAILABLE_TSS || reaches_slot(base) || !canonical(base) {
        return false;
    }
    write(Field::GuestTrSelector, u64::from(selector));
    write(Field::GuestTrBase, base);
    write(Field::GuestTrLimit, (low & 0xffff) | (low >> 32 & 0xf_0000));
    write(Field::GuestTrRights, 0x8b);
    let busy = (low | 2 << 40).to_le_bytes();
    walk::write(&vm.ram, cr3(), at, &busy)
}
