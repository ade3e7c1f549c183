//! Aborting a call from outside (rules G9, G10): after a fault, a wrong CR3 or an overrun in the gate or the window.

use super::inject;
use crate::platform::cpu;
use crate::vm::view::WhichView;
use crate::vm::vm::{Next, Vm, Watched};
use crate::vmx::field::Field;
use crate::vmx::guest::{self, flags};
use crate::vmx::instruction::{clear_vectors, read, write};
use crate::vmx::reason;
use crate::vmx::registers::Registers;
use sluice_abi::call::{Accepted, Code, Status};
use sluice_abi::map;

/// Handles an expiry of the preemption timer in the window: the call is long, the VM's turn is over, or an interrupt is
/// due. The first expiry gives the call the manifest's `grace_ticks` to end, after which it is aborted.
pub fn watch(vm: &mut Vm) -> Next {
    let (calls, now, grace) = (vm.window.get().calls(), cpu::ticks(), vm.limits.grace);
    let ends = match &vm.watched {
        Some(watched) if watched.calls == calls => watched.ends,
        _ => now.saturating_add(grace),
    };
    if ends <= now {
        return call(vm, WhichView::Window, reason::PREEMPTION_TIMER);
    }
    vm.watched = Some(Watched { calls, ends });
    if vm.turn_ends <= now {
        // The next call makes room for other VMs.
        vm.hold(true);
    }
    Next::Resume
}

/// Brings the vCPU back to home, at the stub's abort label, with the packets that the call delivered. Where it stood is
/// read from the VMCS: the guest chooses what its registers hold.
pub fn call(vm: &mut Vm, place: WhichView, reason: u16) -> Next {
    vm.aborts += 1;
    vm.watched = None;
    let at = read(Field::GuestRip).wrapping_sub(map::SLOT_VA + map::GATE);
    let accepted = if begun(place, at) { vm.window.get().recover() } else { Accepted::default() };
    if !vm.views.end_call(vm.vpid()) {
        return vm.stop(alloc::format!("exit reason {reason} outside home without a gate"));
    }
    if place == WhichView::Window && has_own_stack(at) {
        write(Field::GuestRsp, vm.window.get().caller_rsp());
    }
    clear_events();
    if !guest::is_64_bit() {
        // Neither stub nor gate can be reached from compatibility mode: none of their instructions was executed, so the
        // registers are the caller's.
        return inject::invalid_opcode();
    }
    vm.registers = Registers::default();
    clear_vectors();
    vm.registers.0[Registers::RAX] = Status::new(Code::Aborted).0;
    vm.registers.0[Registers::R8..Registers::R8 + 4].copy_from_slice(&accepted.0);
    write(Field::GuestRip, map::SLOT_VA + map::GATE + u64::from(sluice_gate::STUB_ABORT));
    write(Field::GuestRflags, flags());
    Next::Resume
}

/// Returns whether the window began this call: RIP, which is at offset `at` of the gate's page, is past the window's
/// first store, or in the gate behind the window. A program's call does not come so far. A kernel that enters the gate
/// behind the window gets the result of its previous call; that harms only itself.
fn begun(place: WhichView, at: u64) -> bool {
    let behind = u64::from(sluice_gate::CLOSE)..u64::from(sluice_gate::RETURN);
    match place {
        WhichView::Window => at != u64::from(sluice_gate::ENTER),
        _ => guest::can_call() && behind.contains(&at),
    }
}

/// Returns whether the window has saved the caller's RSP: from there on RSP is the window's own, or the caller's again.
fn has_own_stack(at: u64) -> bool {
    !(u64::from(sluice_gate::ENTER)..u64::from(sluice_gate::STACK_SAVED)).contains(&at)
}

/// Returns RFLAGS after an aborted call. The stub restores a kernel's from its stack. A program can't restore IF and
/// IOPL, and has executed nothing that changes them.
fn flags() -> u64 {
    if guest::in_kernel() { flags::FIXED } else { read(Field::GuestRflags) & !flags::RESUME }
}

/// Drops the events of the aborted call: none of them may be delivered in home.
fn clear_events() {
    write(Field::GuestPendingDebug, 0);
    write(Field::GuestInterruptibility, 0);
    write(Field::GuestActivity, 0);
    write(Field::EntryInterruption, 0);
}
