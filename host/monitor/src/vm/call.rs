//! VMCALL: what a VM asks of the host. See: docs/interfaces.md.

use super::{Next, Vm, descriptor_table, exit, inject};
use crate::vmx::enter::Registers;
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use alloc::format;
use sluice_abi::call::{Code, Hypercall, MAX_BURST, Outcome, Status};
use sluice_abi::{Gpa, directory::GateKind, map};
use sluice_memory::{SharedMemory, guess};
use zerocopy::IntoBytes;

const LARGE_PAGE: u64 = 2 << 20;

/// Does what the call in RAX asks. Only the VM's kernel may ask.
pub fn handle(vm: &mut Vm) -> Next {
    if !exit::in_kernel() {
        return inject::invalid_opcode();
    }
    let [a, b, c] = [Registers::RDI, Registers::RSI, Registers::RDX].map(|register| vm.registers.0[register]);
    let status = match Hypercall::from_number(vm.registers.0[Registers::RAX]) {
        Some(Hypercall::Exit) => return vm.end(a),
        Some(Hypercall::Yield) => return give_way(vm),
        Some(Hypercall::Transmit) => return transmit(vm, a),
        Some(Hypercall::Console) => console(vm, Gpa(a), b),
        Some(Hypercall::Register) => register(vm, Gpa(a), b, Gpa(c)),
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
    let len_here = guess::within(len, map::PAGE).map(|len| len as usize);
    let Some(bytes) = len_here.and_then(|len| bytes.get_mut(..len)) else { return Code::BadRequest };
    if vm.ram.slice(at, len).and_then(|text| text.copy_to_slice(0, bytes)).is_err() {
        return Code::BadRequest;
    }
    vm.console.write(&vm.name, bytes);
    Code::Ok
}

fn exit_counts(vm: &mut Vm, at: Gpa) -> Code {
    let bytes = vm.exits.as_bytes();
    let written = vm.ram.slice(at, bytes.len() as u64).and_then(|to| to.copy_from_slice(0, bytes));
    if written.is_ok() { Code::Ok } else { Code::BadRequest }
}

/// Registers packet memory, request block and CR3. Later calls may bring another CR3 but no other memory.
fn register(vm: &mut Vm, packets: Gpa, len: u64, request: Gpa) -> Code {
    let aligned =
        packets.0.is_multiple_of(LARGE_PAGE) && len.is_multiple_of(LARGE_PAGE) && request.0.is_multiple_of(map::PAGE);
    let sized = len > 0 && len <= map::PACKETS_LEN;
    let places = vm.ram.host(packets, len).zip(vm.ram.host(request, map::PAGE));
    let (true, true, Some((packets_at, request_at))) = (aligned, sized, places) else { return Code::BadRequest };
    let cr3 = read(Field::GuestCr3);
    let asked = (packets, len, request);
    let fresh = vm.registered.is_none();
    if vm.registered.is_some_and(|before| before != asked)
        || vm.ram.host(Gpa(cr3 & !0xfff), map::PAGE).is_none()
        || descriptor_table::any_reaches_slot()
    {
        return Code::BadRequest;
    }
    vm.registered = Some(asked);
    let vpid = vm.vpid();
    let shown = match vm.views.isolated() {
        Some(isolated) if fresh => {
            isolated.show_packets((packets_at, len), request_at).and_then(|()| isolated.register(cr3, vpid))
        }
        Some(isolated) => isolated.register(cr3, vpid),
        None => Ok(()),
    };
    if shown.is_err() || vm.show_packets_to_host(packets_at, len, request_at).is_err() {
        crate::println!("vm {}: no memory left for its views", vm.name);
        return Code::NotRegistered;
    }
    Code::Ok
}

/// The gate [`GateKind::Hypercall`]: the same operation, run here.
fn transmit(vm: &mut Vm, count: u64) -> Next {
    let outcome = match (vm.gate, vm.registered) {
        (GateKind::Hypercall, Some(_)) if count <= MAX_BURST as u64 => vm.transmit(count),
        (GateKind::Hypercall, Some(_)) => Outcome { status: Status::new(Code::BadRequest), ..Outcome::default() },
        (GateKind::Hypercall, None) => Outcome { status: Status::new(Code::NotRegistered), ..Outcome::default() },
        _ => return vm.stop(format!("call Transmit without the gate hypercall, at RIP {:#x}", read(Field::GuestRip))),
    };
    vm.registers.0[Registers::RAX] = outcome.status.0;
    vm.registers.0[Registers::R8..Registers::R8 + 4].copy_from_slice(&outcome.accepted.0);
    exit::skip(Next::Resume)
}
