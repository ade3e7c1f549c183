//! EPT violations in home: accesses to the virtio-mmio registers are emulated, and any other stops the VM.

use super::inject;
use crate::vm::emulate::fetch;
use crate::vm::network;
use crate::vm::vm::{Next, Vm};
use crate::vmx::field::Field;
use crate::vmx::guest;
use crate::vmx::instruction::read;
use crate::vmx::registers::Registers;
use alloc::format;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use sluice_abi::boot::STACK_GUARD;
use sluice_abi::{map, mmio};
use sluice_control::Event;

/// Emulates an access to the device's registers. An access elsewhere stops the VM with a message that says where.
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
        Move::Store(value) => store(vm, offset as u32, value),
        Move::Load { register, size, widens } => {
            let value = network::device_read(vm.id, offset as u32);
            let mask = u64::MAX >> (64 - 8 * size as u32);
            set_register(vm, register, u64::from(value) & mask, widens);
        }
    }
    // For EPT violations the VMCS field for the length is undefined.
    guest::advance(instruction.len() as u64);
    Next::Resume
}

/// Writes `value` to register `offset` of the VM's device.
fn store(vm: &mut Vm, offset: u32, value: u32) {
    match network::device_write(vm.id, offset, value) {
        Some(Event::Notified) => vm.serving = true,
        Some(event) => vm.device_changed(event),
        None => {}
    }
}

/// Handles an instruction that is not emulated. A program that can reach the device's registers may execute any; that
/// must not end its VM.
fn unknown(vm: &mut Vm, offset: u64) -> Next {
    if !guest::in_kernel() {
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

/// A MOV or MOVZX to or from memory.
enum Move {
    /// A store of this value.
    Store(u32),
    /// A load.
    Load {
        /// The register to which the value goes.
        register: Register,
        /// Number of bytes in memory.
        size: usize,
        /// Whether the rest of the register becomes 0 (a 32-bit MOV or MOVZX).
        widens: bool,
    },
}

fn decode(vm: &Vm, instruction: &Instruction) -> Option<Move> {
    let movzx = instruction.mnemonic() == Mnemonic::Movzx;
    if !movzx && instruction.mnemonic() != Mnemonic::Mov {
        return None;
    }
    let size = instruction.memory_size().size();
    match (instruction.op0_kind(), instruction.op1_kind()) {
        (OpKind::Memory, source) if size == 4 => Some(Move::Store(operand(vm, instruction, source)?)),
        (OpKind::Register, OpKind::Memory) if matches!(size, 1 | 2 | 4) => {
            let register = instruction.op0_register();
            general(register)?;
            Some(Move::Load { register, size, widens: movzx && register.size() > 2 || size == 4 })
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

/// Returns the number of a general register; `None` for RSP, for AH to BH and for other registers.
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
