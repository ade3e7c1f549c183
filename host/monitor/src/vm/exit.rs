//! What an exit means: one arm per reason, and the reason's own file does the work.

use super::event::{self, Event};
use super::view::Place;
use super::{Next, Vm, abort, call, cpuid, descriptor_table, inject, lapic, mmio, schedule, state};
use crate::platform::cpu::XCR0;
use crate::platform::exit as machine;
use crate::vmx::enter::Registers;
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use alloc::format;

pub(super) use super::reason;

/// Handles the exit that the current VMCS describes.
pub fn handle(vm: &mut Vm) -> Next {
    let word = read(Field::ExitReason);
    let reason = word as u16;
    vm.exits.by_reason[usize::from(reason).min(79)] += 1;
    let event = event::of(word, read(Field::ExitInterruption));
    if event == Event::MachineCheck {
        machine::finish(Err("machine check"));
    }
    let Some(place) = vm.views.place_at_exit(read(Field::EptPointer)) else {
        return vm.stop(format!("EPTP list changed in home (exit reason {reason})"));
    };
    vm.crossing_exits += u64::from(matches!(place, Place::Gate | Place::Window));
    match (event, place) {
        (Event::Refused, _) => vm.stop(format!("VM entry refused: invalid guest state (exit reason {reason})")),
        (Event::Nmi, _) => inject::end_nmi(),
        (Event::Hosts, _) => Next::Resume,
        (Event::Timer, _) if vm.reminded => Next::Resume,
        (_, Place::Home | Place::Guarded) => in_home(vm, reason),
        (_, place) => in_crossing(vm, reason, place),
    }
}

/// In the gate or the window nothing is emulated and nothing injected (rule G9): wait it out, or abort the call. A call that stands in the
/// gate, where the window is closed, can wait for as long as may be.
fn in_crossing(vm: &mut Vm, reason: u16, place: Place) -> Next {
    let held = vm.views.isolated().is_some_and(|isolated| isolated.is_held());
    match reason {
        reason::PREEMPTION_TIMER if place == Place::Window => abort::watch(vm),
        reason::PREEMPTION_TIMER => schedule::after_timer(vm),
        reason::VMFUNC if place == Place::Gate && held => Next::Switch,
        _ => abort::call(vm, place, reason),
    }
}

fn in_home(vm: &mut Vm, reason: u16) -> Next {
    match reason {
        reason::EXCEPTION_OR_NMI => inject::reflect(),
        reason::PREEMPTION_TIMER => schedule::after_timer(vm),
        reason::CPUID => cpuid::emulate(vm),
        reason::HLT => lapic::halt(vm),
        reason::VMCALL => call::handle(vm),
        reason::GDTR_IDTR | reason::LDTR_TR => descriptor_table(vm, reason == reason::GDTR_IDTR),
        reason::IO => io(vm),
        reason::INVD | reason::WBINVD => skip(Next::Resume),
        reason::EPT_VIOLATION => mmio::emulate(vm),
        reason::TRIPLE_FAULT => vm.stop(format!("triple fault at RIP {:#x}", read(Field::GuestRip))),
        reason::VMFUNC => vmfunc(vm),
        reason::XSETBV => xsetbv(vm),
        reason::RDMSR | reason::WRMSR => lapic::access(vm, reason),
        reason::CONTROL_REGISTER | reason::RDPMC => inject::general_protection(),
        reason::VMX_FIRST..=reason::VMX_LAST | reason::INVEPT | reason::INVVPID | reason::MWAIT | reason::MONITOR => {
            inject::invalid_opcode()
        }
        _ => vm.stop(format!("exit reason {reason} at RIP {:#x}", read(Field::GuestRip))),
    }
}

fn descriptor_table(vm: &mut Vm, tables: bool) -> Next {
    match descriptor_table::execute(&vm.ram, &mut vm.registers, tables) {
        Ok(()) => skip(Next::Resume),
        Err(fault) => inject::raise(fault),
    }
}

/// Port accesses: there is no device behind any port; reads give all ones.
fn io(vm: &mut Vm) -> Next {
    const IN: u64 = 1 << 3;
    const STRING: u64 = 1 << 4;
    let qualification = read(Field::ExitQualification);
    if qualification & STRING != 0 {
        return inject::general_protection();
    }
    if qualification & IN != 0 {
        let mask = u64::MAX >> (64 - 8 * ((qualification & 7) + 1));
        vm.registers.0[0] |= mask;
    }
    skip(Next::Resume)
}

/// A VM may switch on what is on; the host owns XCR0 (rule G6).
fn xsetbv(vm: &mut Vm) -> Next {
    let [number, low, high] = [Registers::RCX, Registers::RAX, Registers::RDX].map(|at| vm.registers.0[at] as u32);
    let allowed = state::in_kernel() && number == 0 && (low, high) == XCR0;
    if allowed { skip(Next::Resume) } else { inject::general_protection() }
}

/// VMFUNC in home: a leaf or view that isn't there, or the window, which home can't reach (rule G3). Any program may try: that is no
/// reason to end its VM.
fn vmfunc(vm: &mut Vm) -> Next {
    if !state::in_kernel() {
        return inject::invalid_opcode();
    }
    let index = vm.registers.0[Registers::RCX] as u32;
    vm.stop(format!("VMFUNC in home: view {index} is not valid, at RIP {:#x}", read(Field::GuestRip)))
}

/// Goes on behind the instruction that exited.
pub fn skip(next: Next) -> Next {
    state::advance(read(Field::InstructionLength));
    next
}
