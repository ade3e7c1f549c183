//! Ending a call from outside (rules G9, G10): a fault, a wrong CR3, an overrun in the gate or the window.

use super::state::{self, flags};
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

/// Brings the vCPU back to home, at the stub's abort label, with what the call did achieve. Where it stood is what the processor says: registers
/// may hold what the guest likes.
pub fn call(vm: &mut Vm, place: Place, reason: u16) -> Next {
    vm.aborts += 1;
    vm.watched = None;
    let at = read(Field::GuestRip).wrapping_sub(map::SLOT_VA + map::GATE);
    let accepted = if begun(place, at) { vm.recover() } else { Accepted::default() };
    if !vm.views.end_call(vm.vpid()) {
        return vm.stop(alloc::format!("exit reason {reason} outside home without a gate"));
    }
    if place == Place::Window && has_own_stack(at) {
        write(Field::GuestRsp, vm.caller_rsp());
    }
    clear_events();
    if !state::is_64_bit() {
        // The stub can't be reached from there, nor the gate: nothing of it was executed, so the registers are the caller's.
        return inject::invalid_opcode();
    }
    vm.registers = Registers::default();
    enter::clear_vectors();
    vm.registers.0[Registers::RAX] = Status::new(Code::Aborted).0;
    vm.registers.0[Registers::R8..Registers::R8 + 4].copy_from_slice(&accepted.0);
    write(Field::GuestRip, map::SLOT_VA + map::GATE + u64::from(sluice_gate::STUB_ABORT));
    write(Field::GuestRflags, flags());
    Next::Resume
}

/// Whether the window has had the call: it is there, past the instruction that says so in the window's state, or in the gate, behind it; `at` is an
/// offset in the page. No program's call comes so far. (A kernel that enters the gate behind the window gets what its last call delivered:
/// a lie of its own.)
fn begun(place: Place, at: u64) -> bool {
    let behind = u64::from(sluice_gate::CLOSE)..u64::from(sluice_gate::RETURN);
    match place {
        Place::Window => at != u64::from(sluice_gate::ENTER),
        _ => state::can_call() && behind.contains(&at),
    }
}

/// Whether the window has put the caller's RSP aside. From there on its own is in force, or the caller's again.
fn has_own_stack(at: u64) -> bool {
    !(u64::from(sluice_gate::ENTER)..u64::from(sluice_gate::STACK_SAVED)).contains(&at)
}

/// RFLAGS behind an aborted call. The kernel has its own on its stack, and the stub takes them from there. A program can't take IF and IOPL from
/// there, and has executed nothing that changes them.
fn flags() -> u64 {
    if state::in_kernel() { flags::FIXED } else { read(Field::GuestRflags) & !flags::RESUME }
}

/// Nothing of the aborted call may be delivered in home.
fn clear_events() {
    write(Field::GuestPendingDebug, 0);
    write(Field::GuestInterruptibility, 0);
    write(Field::GuestActivity, 0);
    write(Field::EntryInterruption, 0);
}
