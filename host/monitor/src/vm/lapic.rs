//! The interrupts of a VM: its timer's, and that of its network device. See: `sluice_abi::lapic`.
//!
//! The VMX-preemption timer of the processor runs to the deadline, in whatever view the VM is. The device's line is raised by the processor that
//! serves the switch (`mailbox.rs`): it calls the VM's by NMI, and as a call may be lost in the monitor itself, a VM that would take the interrupt
//! is looked after once in a quantum. An interrupt is injected in home only
//! (rule G9). In a crossing it waits: the processor is told to exit as soon as interrupts are on again, which is behind the stub's POPFQ. A call
//! that goes on for too long after that is aborted (`abort.rs`), so it waits for so long and no longer.
//!
//! # Why not posted interrupts, or the processor's own APIC timer
//! Both deliver by hardware, and hardware does not know the views (rule G14).

use super::exit::{self, reason};
use super::state::{self, flags};
use super::{Next, Vm, inject, mailbox, schedule};
use crate::platform::cpu;
use crate::vmx::control::Primary;
use crate::vmx::enter::Registers;
use crate::vmx::field::Field;
use crate::vmx::instruction::{read, write};
use sluice_abi::lapic::{
    FIRST_VECTOR, IA32_TSC_DEADLINE, LEVEL, MASKED, MODE_TSC_DEADLINE, X2APIC_EOI, X2APIC_LVT_LINT0, X2APIC_LVT_TIMER,
};

const VECTOR: u64 = 0xff;

/// Ticks that a VM has at least when an interrupt waits for it to leave the gate.
const PROGRESS: u64 = 10_000;

/// What a VM has of a local APIC: the timer, and the pin LINT0, which is the line of its network device.
pub struct LocalApic {
    /// 0: not armed.
    deadline: u64,
    /// The register.
    lvt: u64,
    /// The register of the device's line.
    lint0: u64,
    /// Expired, and not injected yet.
    requested: bool,
    /// Injected, and not ended by the handler.
    in_service: bool,
    /// The VM executed HLT, which an expiry ends, and an interrupt.
    halted: bool,
    /// Interrupts were on then.
    takes: bool,
    /// The processor exits when interrupts are on.
    waits: bool,
    /// Interrupts injected so far.
    injected: u64,
}

impl LocalApic {
    /// As after a reset.
    pub const fn new() -> Self {
        Self {
            deadline: 0,
            lvt: MASKED,
            lint0: MASKED,
            requested: false,
            in_service: false,
            halted: false,
            takes: false,
            waits: false,
            injected: 0,
        }
    }

    /// The counter's value at which the processor must be had back; the largest if the timer is not armed.
    pub const fn deadline(&self) -> u64 {
        if self.deadline == 0 { u64::MAX } else { self.deadline }
    }

    /// Interrupts injected so far.
    pub const fn injected(&self) -> u64 {
        self.injected
    }

    /// Whether the device's line causes interrupts.
    pub const fn is_told(&self) -> bool {
        self.lint0 & MASKED == 0
    }

    /// Whether the VM has nothing to do before its timer expires, or its device's line is high.
    pub fn sleeps(&mut self, line: bool) -> bool {
        self.expire();
        let told = self.is_told() && self.takes && !self.in_service;
        self.halted &= (self.deadline != 0 || told) && !self.requested && !(told && line);
        self.halted
    }

    /// What is due is requested. An expiry ends a HLT, masked or not.
    fn expire(&mut self) {
        if self.deadline != 0 && cpu::ticks() >= self.deadline {
            (self.deadline, self.halted) = (0, false);
            self.requested |= self.lvt & MASKED == 0;
        }
    }

    const fn read(&self, register: u32) -> Option<u64> {
        match register {
            IA32_TSC_DEADLINE => Some(self.deadline),
            X2APIC_LVT_TIMER => Some(self.lvt),
            X2APIC_LVT_LINT0 => Some(self.lint0),
            _ => None,
        }
    }

    /// `None`: there is no such register, or it takes no such value.
    fn write(&mut self, register: u32, value: u64) -> Option<()> {
        match register {
            IA32_TSC_DEADLINE if self.lvt & MODE_TSC_DEADLINE != 0 => (self.deadline, self.requested) = (value, false),
            // Of no effect in another mode.
            IA32_TSC_DEADLINE => {}
            X2APIC_LVT_TIMER if is_lvt(value, MODE_TSC_DEADLINE) => self.lvt = value,
            X2APIC_LVT_LINT0 if is_lvt(value, LEVEL) => self.lint0 = value,
            X2APIC_EOI if value == 0 => self.in_service = false,
            _ => return None,
        }
        self.requested &= self.lvt & MASKED == 0;
        if self.lvt & MODE_TSC_DEADLINE == 0 {
            self.deadline = 0;
        }
        Some(())
    }
}

/// Whether a register of the local vector table that has the one mode `mode` takes `value`.
fn is_lvt(value: u64, mode: u64) -> bool {
    let vector = value & VECTOR;
    let in_mode = value & !(VECTOR | MASKED) == mode;
    value == MASKED || in_mode && (value & MASKED != 0 || vector >= FIRST_VECTOR)
}

/// RDMSR or WRMSR of a register that is not the VM's own.
pub fn access(vm: &mut Vm, reason: u16) -> Next {
    let [register, low, high] = [Registers::RCX, Registers::RAX, Registers::RDX].map(|at| vm.registers.0[at] as u32);
    vm.lapic.expire();
    let done = if reason == reason::WRMSR {
        let written = vm.lapic.write(register, u64::from(high) << 32 | u64::from(low));
        mailbox::listen(vm.id, vm.lapic.is_told());
        written
    } else {
        vm.lapic.read(register).map(|value| {
            vm.registers.0[Registers::RAX] = value & 0xffff_ffff;
            vm.registers.0[Registers::RDX] = value >> 32;
        })
    };
    done.map_or_else(inject::general_protection, |()| exit::skip(Next::Resume))
}

/// HLT: a VM whose timer is armed, or whose device may interrupt it, waits for that; any other gives its turn away.
pub fn halt(vm: &mut Vm) -> Next {
    (vm.lapic.halted, vm.lapic.takes) = (true, state::interrupts_are_on());
    exit::skip(Next::Switch)
}

/// Before an entry: an interrupt that is due is injected, if the VM is in home and takes it; else the processor will say when.
pub fn deliver(vm: &mut Vm) {
    vm.lapic.expire();
    vm.lapic.halted = false;
    let line = vm.lapic.is_told() && mailbox::line(vm.id);
    let mut waits = (vm.lapic.requested || line) && !vm.lapic.in_service;
    if waits && vm.in_crossing() && !state::can_call() {
        // It ends at its next instruction, with the flags that it has.
        waits = false;
    } else if waits && vm.in_crossing() {
        // As the gate's CLI is about to, if it has not yet; the stub's POPFQ puts it back. From here on no crossing has it set.
        write(Field::GuestRflags, read(Field::GuestRflags) & !flags::INTERRUPT);
        vm.turn_ends = vm.turn_ends.min(cpu::ticks().saturating_add(schedule::grace_ticks().max(PROGRESS)));
    } else if waits && state::takes_interrupts() && !inject::is_something() {
        let register = if vm.lapic.requested { vm.lapic.lvt } else { vm.lapic.lint0 };
        inject::interrupt(register & VECTOR);
        (vm.lapic.requested, vm.lapic.in_service) = (false, true);
        vm.lapic.injected += 1;
        waits = false;
    }
    if waits != core::mem::replace(&mut vm.lapic.waits, waits) {
        let window = u64::from(Primary::INTERRUPT_WINDOW_EXITING.bits());
        let others = read(Field::PrimaryControls) & !window;
        write(Field::PrimaryControls, if waits { others | window } else { others });
    }
}
