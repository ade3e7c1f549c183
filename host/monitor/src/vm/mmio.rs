//! EPT violations in home: the virtio-mmio registers are emulated, anything else stops the VM.

use super::{Next, Vm, exit, shared, walk};
use crate::vmx::enter::Registers;
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use alloc::format;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use sluice_abi::{Gva, map, mmio};

/// Longest instruction. See: SDM volume 2, "Instruction Format".
const MAX_INSTRUCTION: usize = 15;

/// Serves an access to the device's registers, or stops the VM, saying what it touched.
pub fn emulate(vm: &mut Vm) -> Next {
    let gpa = read(Field::GuestPhysicalAddress);
    let offset = gpa.wrapping_sub(map::MMIO_GPA);
    if offset >= mmio::WINDOW_LEN {
        return vm.stop(describe(gpa));
    }
    let Some(access) = decode(vm) else {
        return vm.stop(format!(
            "virtio-mmio register {offset:#x}: unknown instruction at RIP {:#x}",
            read(Field::GuestRip)
        ));
    };
    match access.store {
        Some(value) => shared::device_write(vm, offset as u32, value),
        None => {
            let value = shared::device_read(vm.id, offset as u32);
            let mask = u64::MAX >> (64 - 8 * access.size as u32);
            set_register(vm, access.register, u64::from(value) & mask, access.widens);
        }
    }
    exit::skip_by(access.length, Next::Resume)
}

fn describe(gpa: u64) -> alloc::string::String {
    let qualification = read(Field::ExitQualification);
    let kind = match qualification & 7 {
        2 | 3 => "write to",
        4 => "fetch from",
        _ => "read of",
    };
    format!("EPT violation: {kind} guest-physical {gpa:#x} at RIP {:#x}", read(Field::GuestRip))
}

/// What a MOV or MOVZX to or from memory wants.
struct Access {
    /// The value to store; `None` for a load.
    store: Option<u32>,
    /// Where a load goes.
    register: Register,
    /// Bytes in memory.
    size: usize,
    /// The rest of the register becomes 0 (a 32-bit MOV or MOVZX).
    widens: bool,
    /// Bytes of the instruction: the VMCS field is not defined for EPT violations.
    length: u64,
}

fn decode(vm: &Vm) -> Option<Access> {
    let mut bytes = [0; MAX_INSTRUCTION];
    let rip = read(Field::GuestRip);
    let len = walk::read(&vm.ram, read(Field::GuestCr3), Gva(rip), &mut bytes);
    let instruction = Decoder::with_ip(64, &bytes[..len], rip, DecoderOptions::NONE).decode();
    let movzx = instruction.mnemonic() == Mnemonic::Movzx;
    if !movzx && instruction.mnemonic() != Mnemonic::Mov {
        return None;
    }
    let (size, length) = (instruction.memory_size().size(), instruction.len() as u64);
    match (instruction.op0_kind(), instruction.op1_kind()) {
        (OpKind::Memory, source) if size == 4 => Some(Access {
            store: Some(operand(vm, &instruction, source)?),
            register: Register::None,
            size,
            widens: false,
            length,
        }),
        (OpKind::Register, OpKind::Memory) if matches!(size, 1 | 2 | 4) => {
            let register = instruction.op0_register();
            Some(Access { store: None, register, size, widens: movzx || size == 4, length })
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
