//! The interrupts of a VM: its timer's, and that of its network device. See: `sluice_abi::lapic`.
//!
//! The VMX-preemption timer runs to the deadline, whatever view the VM is in. The device's line is raised by the
//! processor that serves the switch, which calls the VM's processor by NMI (`mailbox.rs`). Such a call may be lost in
//! the monitor itself, so a VM that would take the interrupt is looked after once in a quantum.
//!
//! An interrupt is injected in home only (rule G9). In a crossing it waits: the processor exits as soon as interrupts
//! are on again, which is after the POPFQ of the stub. A call that takes too long is aborted (`abort.rs`), so the wait
//! is bounded.
//!
//! # Why not posted interrupts, or the processor's own APIC timer
//! Both deliver by hardware, and hardware does not know the views (rule G14).

use super::inject;
use crate::platform::cpu;
use crate::vm::mailbox;
use crate::vm::vm::{Next, Vm};
use crate::vmx::control::Primary;
use crate::vmx::field::Field;
use crate::vmx::guest::{self, flags};
use crate::vmx::instruction::{read, write};
use crate::vmx::reason;
use crate::vmx::registers::Registers;

/// Ticks that a VM has at least to leave the gate when an interrupt waits for that.
const PROGRESS: u64 = 10_000;

/// Handles RDMSR or WRMSR of a register that is not the VM's own.
pub fn access(vm: &mut Vm, reason: u16) -> Next {
    let [register, low, high] = [Registers::RCX, Registers::RAX, Registers::RDX].map(|at| vm.registers.0[at] as u32);
    vm.lapic.expire();
    let done = if reason == reason::WRMSR {
        let written = vm.lapic.write(register, u64::from(high) << 32 | u64::from(low));
        mailbox::listen(vm.id, vm.lapic.is_line_enabled());
        written
    } else {
        vm.lapic.read(register).map(|value| {
            vm.registers.0[Registers::RAX] = value & 0xffff_ffff;
            vm.registers.0[Registers::RDX] = value >> 32;
        })
    };
    if done.is_none() {
        return inject::general_protection();
    }
    guest::skip();
    Next::Resume
}

/// Handles HLT: a VM whose timer is armed, or whose device may interrupt it, waits for that; any other gives its turn
/// away.
pub fn halt(vm: &mut Vm) -> Next {
    vm.lapic.halt(guest::interrupts_are_on());
    guest::skip();
    Next::Switch
}

/// Injects the interrupt that is due before an entry, if the VM is in home and takes it. Else the processor exits when
/// it does.
pub fn deliver(vm: &mut Vm) {
    let mut waits = vm.lapic.is_due(mailbox::line(vm.id));
    if waits && vm.in_crossing() && !guest::can_call() {
        // The call ends at its next instruction, with the flags as they are.
        waits = false;
    } else if waits && vm.in_crossing() {
        // The gate's CLI is about to clear IF, or has done so; the stub's POPFQ restores it. From here on no crossing
        // has it set.
        write(Field::GuestRflags, read(Field::GuestRflags) & !flags::INTERRUPT);
        vm.turn_ends = vm.turn_ends.min(cpu::ticks().saturating_add(vm.limits.grace.max(PROGRESS)));
    } else if waits && guest::takes_interrupts() && !inject::is_something() {
        inject::interrupt(vm.lapic.accept());
        waits = false;
    }
    if waits != core::mem::replace(&mut vm.lapic.window_exiting, waits) {
        let window = u64::from(Primary::INTERRUPT_WINDOW_EXITING.bits());
        let others = read(Field::PrimaryControls) & !window;
        write(Field::PrimaryControls, if waits { others | window } else { others });
    }
}
