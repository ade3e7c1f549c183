//! VMCALL: what a VM asks of the host. See: docs/interfaces.md.

use super::registration::{self, Places, Shown};
use super::{Next, Vm, exit, inject, state};
use crate::vmx::enter::Registers;
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use alloc::format;
use sluice_abi::call::{Code, Hypercall, MAX_BURST, Outcome, Status};
use sluice_abi::{Gpa, directory::GateKind, map};
use sluice_memory::SharedMemory;
use zerocopy::IntoBytes;

/// Does what the call in RAX asks. Only the VM's kernel may ask.
pub fn handle(vm: &mut Vm) -> Next {
    if !state::in_kernel() {
        return inject::invalid_opcode();
    }
    let [a, b, c] = [Registers::RDI, Registers::RSI, Registers::RDX].map(|register| vm.registers.0[register]);
    let status = match Hypercall::from_number(vm.registers.0[Registers::RAX]) {
        Some(Hypercall::Exit) => return vm.end(a),
        Some(Hypercall::Yield) => return give_way(vm),
        Some(Hypercall::Transmit) => return transmit(vm, a),
        Some(Hypercall::Console) => console(vm, Gpa(a), b),
        Some(Hypercall::Register) => register(vm, Shown { packets: Gpa(a), len: b, request: Gpa(c) }),
        Some(Hypercall::ExitCounts) => exit_counts(vm, Gpa(a)),
        None => Code::Unknown,
    };
    vm.registers.0[Registers::RAX] = Status::new(status).0;
    exit::skip(Next::Resume)
}

fn give_way(vm: &mut Vm) -> Next {
    vm.registers.0[Registers::RAX] = Status::OK.0;
    exit::skip(Next::Switch)
}

fn console(vm: &mut Vm, at: Gpa, len: u64) -> Code {
    let mut bytes = [0; map::PAGE as usize];
    let Some(bytes) = usize::try_from(len).ok().and_then(|len| bytes.get_mut(..len)) else { return Code::BadRequest };
    if vm.ram.slice(at, len).and_then(|text| text.copy_to_slice(0, bytes)).is_err() {
        return Code::BadRequest;
    }
    vm.console.write(bytes);
    Code::Ok
}

fn exit_counts(vm: &mut Vm, at: Gpa) -> Code {
    let bytes = vm.exits.as_bytes();
    let written = vm.ram.slice(at, bytes.len() as u64).and_then(|to| to.copy_from_slice(0, bytes));
    if written.is_ok() { Code::Ok } else { Code::BadRequest }
}

/// Registers packet memory, request block and CR3. Later calls may bring another CR3 but no other memory.
fn register(vm: &mut Vm, shown: Shown) -> Code {
    let Some(Places { packets, request, cr3 }) = registration::check(&vm.ram, vm.registered, shown) else {
        return Code::BadRequest;
    };
    let fresh = vm.registered.replace(shown).is_none();
    let vpid = vm.vpid();
    let done = match vm.views.isolated() {
        Some(isolated) if fresh => {
            isolated.show_packets((packets, shown.len), request).and_then(|()| isolated.register(cr3, vpid))
        }
        Some(isolated) => isolated.register(cr3, vpid),
        None => Ok(()),
    };
    if done.is_err() || vm.show_packets_to_host(packets, shown.len, request).is_err() {
        vm.console.say(format_args!("vm {}: no memory left for its views", vm.name));
        return Code::NotRegistered;
    }
    Code::Ok
}

/// The gate [`GateKind::Hypercall`]: the same operation, run here.
fn transmit(vm: &mut Vm, count: u64) -> Next {
    let outcome = match (vm.gate, vm.registered) {
        (GateKind::Hypercall, Some(_)) if count <= MAX_BURST as u64 => vm.transmit(count),
        (GateKind::Hypercall, Some(_)) => Outcome::nothing(Status::new(Code::BadRequest)),
        (GateKind::Hypercall, None) => Outcome::nothing(Status::new(Code::NotRegistered)),
        _ => return vm.stop(format!("call Transmit without the gate hypercall, at RIP {:#x}", read(Field::GuestRip))),
    };
    vm.registers.0[Registers::RAX] = outcome.status.0;
    vm.registers.0[Registers::R8..Registers::R8 + 4].copy_from_slice(&outcome.accepted.0);
    exit::skip(Next::Resume)
}
