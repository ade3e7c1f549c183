//! VMCALL: the calls of a VM to the host. See: docs/interfaces.md.

use super::registration::{self, Registered};
use super::{inject, runs};
use crate::vm::vm::{Next, Vm};
use crate::vmx::field::Field;
use crate::vmx::guest;
use crate::vmx::instruction::read;
use crate::vmx::registers::Registers;
use alloc::format;
use sluice_abi::call::{Code, Hypercall, MAX_BURST, Outcome, Status};
use sluice_abi::run::Run;
use sluice_abi::{Gpa, directory::GateKind, map};
use sluice_memory::{SharedMemory, speculation};
use zerocopy::IntoBytes;

/// Executes the call whose number is in RAX. Only the VM's kernel may call.
pub fn handle(vm: &mut Vm) -> Next {
    if !guest::in_kernel() {
        return inject::invalid_opcode();
    }
    let [a, b, c] = [Registers::RDI, Registers::RSI, Registers::RDX].map(|register| vm.registers.0[register]);
    let status = match Hypercall::from_number(vm.registers.0[Registers::RAX]) {
        Some(Hypercall::Exit) => return vm.end(a),
        Some(Hypercall::Yield) => return give_way(vm),
        Some(Hypercall::Transmit) => return transmit(vm, a),
        Some(Hypercall::Console) => console(vm, Gpa(a), b),
        Some(Hypercall::Register) => register(vm, Gpa(a)),
        Some(Hypercall::ExitCounts) => exit_counts(vm, Gpa(a)),
        Some(Hypercall::AddRun) => return runs::add(vm, Run { gpa: Gpa(a), len: b, offset: c }),
        Some(Hypercall::RemoveRun) => return runs::remove(vm, a, b),
        Some(Hypercall::Doorbell) | None => Code::Unknown,
    };
    vm.registers.0[Registers::RAX] = Status::new(status).0;
    guest::skip();
    Next::Resume
}

fn give_way(vm: &mut Vm) -> Next {
    vm.registers.0[Registers::RAX] = Status::OK.0;
    guest::skip();
    Next::Switch
}

fn console(vm: &mut Vm, at: Gpa, len: u64) -> Code {
    let mut bytes = [0; map::PAGE as usize];
    let len_here = speculation::within(len, map::PAGE).map(|len| len as usize);
    let Some(bytes) = len_here.and_then(|len| bytes.get_mut(..len)) else { return Code::BadRequest };
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

/// Registers request block and CR3. A later call replaces them.
fn register(vm: &mut Vm, request: Gpa) -> Code {
    let Registered { request: place, cr3 } = match registration::check(&vm.ram, request) {
        Ok(registered) => registered,
        Err(why) => {
            vm.console.say(format_args!("vm {}: registration refused: request block {request}: {why}", vm.name));
            return Code::BadRequest;
        }
    };
    let vpid = vm.vpid();
    let shown = match vm.views.isolated() {
        Some(isolated) => isolated.show_request(place).and_then(|()| isolated.register(cr3, vpid)),
        None => Ok(()),
    };
    if shown.and_then(|()| vm.show_request_to_host(place)).is_err() {
        vm.console.say(format_args!("vm {}: no memory left for its views", vm.name));
        return Code::NotRegistered;
    }
    vm.registered = true;
    Code::Ok
}

/// Transmits for the gate [`GateKind::Hypercall`]: the operation of the window, run by the monitor.
fn transmit(vm: &mut Vm, count: u64) -> Next {
    let outcome = match (vm.gate, vm.registered) {
        (GateKind::Hypercall, true) if count <= MAX_BURST as u64 => vm.window.transmit(count),
        (GateKind::Hypercall, true) => Outcome::nothing(Status::new(Code::BadRequest)),
        (GateKind::Hypercall, false) => Outcome::nothing(Status::new(Code::NotRegistered)),
        _ => return vm.stop(format!("call Transmit without the gate hypercall, at RIP {:#x}", read(Field::GuestRip))),
    };
    vm.registers.0[Registers::RAX] = outcome.status.0;
    vm.registers.0[Registers::R8..Registers::R8 + 4].copy_from_slice(&outcome.accepted.0);
    guest::skip();
    Next::Resume
}
