//! What an exit means: one arm for each reason, and a file for each larger piece of work.
//!
//! Handlers return what the processor does next. None of them calls the dispatcher.

mod abort;
mod cpuid;
mod debug;
mod event;
mod hypercall;
mod inject;
pub mod interrupts;
mod mmio;
mod registration;
mod runs;

use super::emulate::descriptor_table;
use super::view::WhichView;
use super::vm::{Next, Vm};
use crate::platform::cpu::XCR0;
use crate::platform::verdict;
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use crate::vmx::registers::Registers;
use crate::vmx::{guest, reason};
use alloc::format;
use event::Event;

/// Handles the exit that the current VMCS describes.
pub fn handle(vm: &mut Vm) -> Next {
    let word = read(Field::ExitReason);
    let reason = word as u16;
    vm.exits.by_reason[usize::from(reason).min(79)] += 1;
    let event = event::of(word, read(Field::ExitInterruption));
    if event == Event::MachineCheck {
        verdict::finish(Err("machine check"));
    }
    let Some(place) = vm.views.place_at_exit(read(Field::EptPointer)) else {
        return vm.stop(format!("EPTP list changed in home (exit reason {reason})"));
    };
    vm.crossing_exits += u64::from(matches!(place, WhichView::Gate | WhichView::Window));
    match (event, place) {
        (Event::Refused, _) => vm.stop(format!("VM entry refused: invalid guest state (exit reason {reason})")),
        (Event::Nmi, _) => inject::end_nmi(),
        (Event::Hosts, _) => Next::Resume,
        (Event::Timer, _) if vm.reminded => Next::Resume,
        (_, WhichView::Home | WhichView::Guarded) => in_home(vm, reason),
        (_, place) => in_crossing(vm, reason, place),
    }
}

/// Handles an exit from the gate or the window, where nothing is emulated and nothing injected (rule G9): the monitor
/// waits, or aborts the call. A call in the gate, where the window is closed, may wait for any time.
fn in_crossing(vm: &mut Vm, reason: u16, place: WhichView) -> Next {
    let held = vm.views.isolated().is_some_and(|isolated| isolated.is_held());
    match reason {
        reason::PREEMPTION_TIMER if place == WhichView::Window => abort::watch(vm),
        reason::PREEMPTION_TIMER => vm.after_timer(),
        reason::VMFUNC if place == WhichView::Gate && held => Next::Switch,
        _ => abort::call(vm, place, reason),
    }
}

fn in_home(vm: &mut Vm, reason: u16) -> Next {
    match reason {
        reason::EXCEPTION_OR_NMI => inject::reflect(),
        reason::PREEMPTION_TIMER => vm.after_timer(),
        reason::CPUID => cpuid::emulate(vm),
        reason::HLT => interrupts::halt(vm),
        reason::VMCALL => hypercall::handle(vm),
        reason::GDTR_IDTR | reason::LDTR_TR => descriptor_table(vm, reason == reason::GDTR_IDTR),
        reason::IO => io(vm),
        reason::INVD | reason::WBINVD => skip(),
        reason::EPT_VIOLATION => mmio::emulate(vm),
        reason::TRIPLE_FAULT => vm.stop(format!("triple fault at RIP {:#x}", read(Field::GuestRip))),
        reason::VMFUNC => vmfunc(vm),
        reason::XSETBV => xsetbv(vm),
        reason::RDMSR | reason::WRMSR => interrupts::access(vm, reason),
        reason::CONTROL_REGISTER | reason::RDPMC => inject::general_protection(),
        reason::VMX_FIRST..=reason::VMX_LAST | reason::INVEPT | reason::INVVPID | reason::MWAIT | reason::MONITOR => {
            inject::invalid_opcode()
        }
        _ => vm.stop(format!("exit reason {reason} at RIP {:#x}", read(Field::GuestRip))),
    }
}

/// Moves RIP past the instruction that exited, and goes on.
fn skip() -> Next {
    guest::skip();
    Next::Resume
}

fn descriptor_table(vm: &mut Vm, tables: bool) -> Next {
    match descriptor_table::execute(&vm.ram, &mut vm.registers, tables) {
        Ok(()) => skip(),
        Err(fault) => inject::raise(fault),
    }
}

/// Emulates a port access: no port has a device, so reads return all ones.
fn io(vm: &mut Vm) -> Next {
    const IN: u64 = 1 << 3;
    const STRING: u64 = 1 << 4;
    let qualification = read(Field::ExitQualification);
    if qualification & STRING != 0 {
        return inject::general_protection();
    }
    if qualification & IN != 0 {
        let mask = u64::MAX >> (64 - 8 * ((qualification & 7) + 1));
        vm.registers.0[Registers::RAX] |= mask;
    }
    skip()
}

/// Emulates XSETBV: a VM may only write the value that XCR0 has, since the host owns the register (rule G6).
fn xsetbv(vm: &mut Vm) -> Next {
    let [number, low, high] = [Registers::RCX, Registers::RAX, Registers::RDX].map(|at| vm.registers.0[at] as u32);
    let allowed = guest::in_kernel() && number == 0 && (low, high) == XCR0;
    if allowed { skip() } else { inject::general_protection() }
}

/// Handles VMFUNC in home for a leaf or view that does not exist, or for the window, which home can't reach (rule G3).
/// Any program can execute it, which must not end its VM.
fn vmfunc(vm: &mut Vm) -> Next {
    if !guest::in_kernel() {
        return inject::invalid_opcode();
    }
    let index = vm.registers.0[Registers::RCX] as u32;
    vm.stop(format!("VMFUNC in home: view {index} is not valid, at RIP {:#x}", read(Field::GuestRip)))
}
