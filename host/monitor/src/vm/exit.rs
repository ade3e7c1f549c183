//! What an exit means: one arm per reason, and the reason's own file does the work.

use super::view::Place;
use super::{Next, Vm, abort, call, cpuid, descriptor_table, inject, mmio, schedule, state, timer};
use crate::platform::cpu::XCR0;
use crate::vmx::enter::Registers;
use crate::vmx::ept::EptPointer;
use crate::vmx::field::Field;
use crate::vmx::instruction::read;
use alloc::format;

/// Basic exit reasons. See: SDM volume 3, appendix "VMX Basic Exit Reasons".
pub mod reason {
    #![allow(missing_docs, reason = "the names are the SDM's own")]
    pub const EXCEPTION_OR_NMI: u16 = 0;
    pub const EXTERNAL_INTERRUPT: u16 = 1;
    pub const TRIPLE_FAULT: u16 = 2;
    pub const INIT: u16 = 3;
    pub const SIPI: u16 = 4;
    pub const INTERRUPT_WINDOW: u16 = 7;
    pub const CPUID: u16 = 10;
    pub const HLT: u16 = 12;
    pub const INVD: u16 = 13;
    pub const RDPMC: u16 = 15;
    pub const VMCALL: u16 = 18;
    pub const VMX_FIRST: u16 = 19;
    pub const VMX_LAST: u16 = 27;
    pub const CONTROL_REGISTER: u16 = 28;
    pub const IO: u16 = 30;
    pub const RDMSR: u16 = 31;
    pub const WRMSR: u16 = 32;
    pub const MWAIT: u16 = 36;
    pub const MONITOR: u16 = 39;
    pub const GDTR_IDTR: u16 = 46;
    pub const LDTR_TR: u16 = 47;
    pub const EPT_VIOLATION: u16 = 48;
    pub const INVEPT: u16 = 50;
    pub const PREEMPTION_TIMER: u16 = 52;
    pub const INVVPID: u16 = 53;
    pub const WBINVD: u16 = 54;
    pub const XSETBV: u16 = 55;
    pub const VMFUNC: u16 = 59;

    /// The reasons that a report names; the others appear by number.
    pub const NAMES: [(u16, &str); 18] = [
        (EXCEPTION_OR_NMI, "exception_or_nmi"),
        (EXTERNAL_INTERRUPT, "external_interrupt"),
        (TRIPLE_FAULT, "triple_fault"),
        (INTERRUPT_WINDOW, "interrupt_window"),
        (CPUID, "cpuid"),
        (HLT, "hlt"),
        (VMCALL, "vmcall"),
        (CONTROL_REGISTER, "control_register"),
        (IO, "io"),
        (RDMSR, "rdmsr"),
        (WRMSR, "wrmsr"),
        (GDTR_IDTR, "gdtr_idtr"),
        (LDTR_TR, "ldtr_tr"),
        (EPT_VIOLATION, "ept_violation"),
        (PREEMPTION_TIMER, "preemption_timer"),
        (WBINVD, "wbinvd"),
        (XSETBV, "xsetbv"),
        (VMFUNC, "vmfunc"),
    ];
}

/// Handles the exit that the current VMCS describes.
pub fn handle(vm: &mut Vm) -> Next {
    let reason = match state::exit_reason() {
        Ok(reason) => reason,
        Err(reason) => return vm.stop(format!("VM entry refused: invalid guest state (exit reason {reason})")),
    };
    vm.exits.by_reason[usize::from(reason).min(79)] += 1;
    let place = vm.views.place(read(Field::EptPointer));
    vm.crossing_exits += u64::from(matches!(place, Place::Gate | Place::Window));
    if reason == reason::EXCEPTION_OR_NMI && inject::is_nmi() {
        return inject::end_nmi();
    }
    match place {
        Place::Home | Place::Guarded => in_home(vm, reason),
        place => in_crossing(vm, reason, place),
    }
}

/// In the gate or the window nothing is emulated and nothing injected (rule G9): wait it out, or abort the call. A call that stands in the
/// gate, where the window is closed, can wait for as long as may be.
fn in_crossing(vm: &mut Vm, reason: u16, place: Place) -> Next {
    let held = vm.views.isolated().is_some_and(|isolated| isolated.is_held());
    match reason {
        reason::EXTERNAL_INTERRUPT | reason::INIT => Next::Resume,
        reason::PREEMPTION_TIMER if place == Place::Window => abort::watch(vm),
        reason::PREEMPTION_TIMER => schedule::after_timer(vm),
        reason::VMFUNC if place == Place::Gate && held => Next::Switch,
        _ => abort::call(vm, place, reason),
    }
}

fn in_home(vm: &mut Vm, reason: u16) -> Next {
    if !rests(vm) {
        return vm.stop(format!("EPTP list changed in home (exit reason {reason})"));
    }
    match reason {
        reason::EXCEPTION_OR_NMI => inject::reflect(),
        reason::EXTERNAL_INTERRUPT | reason::INIT | reason::SIPI | reason::INTERRUPT_WINDOW => Next::Resume,
        reason::PREEMPTION_TIMER => schedule::after_timer(vm),
        reason::CPUID => cpuid::emulate(vm),
        reason::HLT => timer::halt(vm),
        reason::VMCALL => call::handle(vm),
        reason::GDTR_IDTR | reason::LDTR_TR => descriptor_table(vm, reason == reason::GDTR_IDTR),
        reason::IO => io(vm),
        reason::INVD | reason::WBINVD => skip(Next::Resume),
        reason::EPT_VIOLATION => mmio::emulate(vm),
        reason::TRIPLE_FAULT => vm.stop(format!("triple fault at RIP {:#x}", read(Field::GuestRip))),
        reason::VMFUNC => vmfunc(vm),
        reason::XSETBV => xsetbv(vm),
        reason::RDMSR | reason::WRMSR => timer::access(vm, reason),
        reason::CONTROL_REGISTER | reason::RDPMC => inject::general_protection(),
        reason::VMX_FIRST..=reason::VMX_LAST | reason::INVEPT | reason::INVVPID | reason::MWAIT | reason::MONITOR => {
            inject::invalid_opcode()
        }
        _ => vm.stop(format!("exit reason {reason} at RIP {:#x}", read(Field::GuestRip))),
    }
}

fn rests(vm: &mut Vm) -> bool {
    let home: EptPointer = vm.views.home();
    vm.views.isolated().is_none_or(|isolated| isolated.at_rest(home))
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
