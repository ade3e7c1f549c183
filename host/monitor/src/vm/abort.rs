//! Ending a call from outside (rules G9, G10): a fault, a wrong CR3, an overrun in the gate or the window.

use super::view::Place;
use super::{Next, Vm, inject, schedule};
use crate::platform::cpu;
use crate::vmx::enter::{self, Registers};
use crate::vmx::field::Field;
use crate::vmx::instruction::{read, write};
use sluice_abi::call::{Accepted, Code, Status};
use sluice_abi::map;

/// A call that the preemption timer found in the window.
pub struct Watched {
    calls: u64,
    /// The counter's value at which it must have ended.
    pub ends: u64,
}

/// The preemption timer found the vCPU in the window: the call is long, its VM's turn is over, or an interrupt is due. The first time
/// it gets the manifest's `grace_ticks` to end; if it has not then, it is aborted.
pub fn watch(vm: &mut Vm) -> Next {
    let (calls, now, grace) = (vm.window_calls(), cpu::ticks(), schedule::grace_ticks());
    let ends = match &vm.watched {
        Some(watched) if watched.calls == calls => watched.ends,
        _ => now.saturating_add(grace),
    };
    if ends <= now {
        return call(vm, Place::Window, super::exit::reason::PREEMPTION_TIMER);
    }
    vm.watched = Some(Watched { calls, ends });
    if vm.turn_ends <= now {
        // The next call makes room for other VMs.
        vm.hold(true);
    }
    Next::Resume
}

/// Brings the vCPU back to home, at the stub's abort label, with what the call did achieve.
pub fn call(vm: &mut Vm, place: Place, reason: u16) -> Next {
    vm.aborts += 1;
    vm.watched = None;
    let accepted = if begun(place) { vm.recover() } else { Accepted::default() };
    let (home, vpid) = (vm.views.home(), vm.vpid());
    let Some(isolated) = vm.views.isolated() else {
        return vm.stop(alloc::format!("exit reason {reason} outside home without a gate"));
    };
    isolated.disarm(vpid);
    write(Field::EptPointer, home.0);
    restore_stack(vm);
    clear_events();
    if !in_64_bit_mode() {
        // The stub can't be reached from there, nor the gate: nothing of it was executed, so the registers are the caller's.
        return inject::invalid_opcode();
    }
    vm.registers = Registers::default();
    enter::clear_vectors();
    vm.registers.0[Registers::RAX] = Status::new(Code::Aborted).0;
    vm.registers.0[Registers::R8..Registers::R8 + 4].copy_from_slice(&accepted.0);
    write(Field::GuestRip, map::SLOT_VA + map::GATE + u64::from(sluice_gate::STUB_ABORT));
    write(Field::GuestRflags, 2);
    Next::Resume
}

/// Whether the window has had the call: it is there, past the instruction that says so in the window's state, or comes from there.
/// (A guest that enters the gate behind the window gets what its last call delivered: a lie of its own.)
fn begun(place: Place) -> bool {
    let at = read(Field::GuestRip).wrapping_sub(map::SLOT_VA + map::GATE);
    match place {
        Place::Window => at != u64::from(sluice_gate::ENTER),
        _ => at >= u64::from(sluice_gate::CLOSE),
    }
}

/// Bit 13 of CS's access rights. See: SDM volume 3, "Guest Register State".
fn in_64_bit_mode() -> bool {
    read(Field::GuestCsRights) >> 13 & 1 == 1
}

/// Inside the window RSP is the window's own; the caller's was put aside first.
fn restore_stack(vm: &mut Vm) {
    let own = map::SLOT_VA + map::STACK;
    if (own..=own + map::STACK_LEN).contains(&read(Field::GuestRsp)) {
        write(Field::GuestRsp, vm.caller_rsp());
    }
}

/// Nothing of the aborted call may be delivered in home.
fn clear_events() {
    write(Field::GuestPendingDebug, 0);
    write(Field::GuestInterruptibility, 0);
    write(Field::GuestActivity, 0);
    write(Field::EntryInterruption, 0);
}
