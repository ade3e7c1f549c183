//! EPT violations in home: the virtio-mmio registers are emulated, anything else stops the VM.

use super::{Next, Vm, fetch, inject, shared, state};
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use crate::vmx::registers::Registers;
use alloc::format;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use sluice_abi::boot::STACK_GUARD;
use sluice_abi::{map, mmio};

/// Serves an access to the device's registers, or stops the VM, saying what it touched.
pub fn emulate(vm: &mut Vm) -> Next {
    let gpa = read(Field::GuestPhysicalAddress);
    let offset = gpa.wrapping_sub(map::MMIO_GPA);
    if offset >= mmio::WINDOW_LEN || !fetch::is_for_operand() {
        return vm.stop(describe(gpa));
    }
    let instruction = match fetch::instruction(&vm.ram) {
        Ok(instruction) => instruction,
        Err(fault) => return inject::raise(fault),
    };
    let Some(access) = decode(vm, &instruction) else { return unknown(vm, offset) };
    match access {
        Access::Store(value) => shared::device_write(vm, offset as u32, value),
        Access::Load { register, size, widens } => {
            let value = shared::device_read(vm.id, offset as u32);
            let mask = u64::MAX >> (64 - 8 * size as u32);
            set_register(vm, register, u64::from(value) & mask, widens);
        }
    }
    // The VMCS field for the length is not defined for EPT violations.
    state::advance(instruction.len() as u64);
    Next::Resume
}

/// An instruction that is not emulated. A program that has the device's registers may try: that is no reason to end its VM.
fn unknown(vm: &mut Vm, offset: u64) -> Next {
    if !state::in_kernel() {
        return inject::invalid_opcode();
    }
    vm.stop(format!("virtio-mmio register {offset:#x}: unknown instruction at RIP {:#x}", read(Field::GuestRip)))
}

fn describe(gpa: u64) -> alloc::string::String {
    let qualification = read(Field::ExitQualification);
    let kind = match qualification & 7 {
        2 | 3 => "write to",
        4 => "fetch from",
        _ => "read of",
    };
    let guard = STACK_GUARD.0..STACK_GUARD.0 + map::PAGE;
    let what = if guard.contains(&gpa) { "stack overflow" } else { "EPT violation" };
    format!("{what}: {kind} guest-physical {gpa:#x} at RIP {:#x}", read(Field::GuestRip))
}

/// What a MOV or MOVZX to or from memory wants.
enum Access {
    Store(u32),
    Load {
        register: Register,
        /// Bytes in memory.
        size: usize,
        /// The rest of the register becomes 0 (a 32-bit MOV or MOVZX).
        widens: bool,
    },
}

fn decode(vm: &Vm, instruction: &Instruction) -> Option<Access> {
    let movzx = instruction.mnemonic() == Mnemonic::Movzx;
    if !movzx && instruction.mnemonic() != Mnemonic::Mov {
        return None;
    }
    let size = instruction.memory_size().size();
    match (instruction.op0_kind(), instruction.op1_kind()) {
        (OpKind::Memory, source) if size == 4 => Some(Access::Store(operand(vm, instruction, source)?)),
        (OpKind::Register, OpKind::Memory) if matches!(size, 1 | 2 | 4) => {
            let register = instruction.op0_register();
            general(register)?;
            Some(Access::Load { register, size, widens: movzx && register.size() > 2 || size == 4 })
        }
        _ => None,
    }
}

fn operand(vm: &Vm, instruction: &Instruction, kind: OpKind) -> Option<u32> {
    match kind {
        OpKind::Register => Some(vm.registers.0[general(instruction.op1_register())?] as u32),
        OpKind::Immediate32 => Some(instruction.immediate32()),
        _ => None,
    }
}

/// The number of a general register other than RSP, and not AH..BH.
fn general(register: Register) -> Option<usize> {
    let high_byte = matches!(register, Register::AH | Register::BH | Register::CH | Register::DH);
    let number = register.full_register().number();
    (register.is_gpr() && !high_byte && number != Registers::RSP).then_some(number)
}

fn set_register(vm: &mut Vm, register: Register, value: u64, widens: bool) {
    if let Some(number) = general(register) {
        let keep = if widens { 0 } else { !(u64::MAX >> (64 - 8 * register.size() as u32)) };
        vm.registers.0[number] = vm.registers.0[number] & keep | value;
    }
}
