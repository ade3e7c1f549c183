//! The one interrupt of a VM: its timer. See: `sluice_abi::timer`.
//!
//! The VMX-preemption timer of the processor runs to the deadline, in whatever view the VM is. The interrupt is injected in home only
//! (rule G9). In a crossing it waits: the processor is told to exit as soon as interrupts are on again, which is behind the stub's POPFQ. A call
//! that goes on for too long after that is aborted (`abort.rs`), so it waits for so long and no longer.
//!
//! # Why not posted interrupts, or the processor's own APIC timer
//! Both deliver by hardware, and hardware does not know the views (rule G14).

use super::exit::{self, reason};
use super::state::{self, flags};
use super::{Next, Vm, inject, schedule};
use crate::platform::cpu;
use crate::vmx::control::Primary;
use crate::vmx::enter::Registers;
use crate::vmx::field::Field;
use crate::vmx::instruction::{read, write};
use sluice_abi::timer::{FIRST_VECTOR, IA32_TSC_DEADLINE, MASKED, MODE_TSC_DEADLINE, X2APIC_EOI, X2APIC_LVT_TIMER};

const VECTOR: u64 = 0xff;

/// Ticks that a VM has at least when an interrupt waits for it to leave the gate.
const PROGRESS: u64 = 10_000;

/// State of a VM's timer.
pub struct Timer {
    /// 0: not armed.
    deadline: u64,
    /// The register.
    lvt: u64,
    /// Expired, and not injected yet.
    requested: bool,
    /// Injected, and not ended by the handler.
    in_service: bool,
    /// The VM executed HLT, which an expiry ends.
    halted: bool,
    /// The processor exits when interrupts are on.
    waits: bool,
    /// Interrupts injected so far.
    injected: u64,
}

impl Timer {
    /// As after a reset.
    pub const fn new() -> Self {
        Self { deadline: 0, lvt: MASKED, requested: false, in_service: false, halted: false, waits: false, injected: 0 }
    }

    /// The counter's value at which the processor must be had back; the largest if the timer is not armed.
    pub const fn deadline(&self) -> u64 {
        if self.deadline == 0 { u64::MAX } else { self.deadline }
    }

    /// Interrupts injected so far.
    pub const fn injected(&self) -> u64 {
        self.injected
    }

    /// Whether the VM has nothing to do before its timer expires.
    pub fn sleeps(&mut self) -> bool {
        self.expire();
        self.halted &= self.deadline != 0 && !self.requested;
        self.halted
    }

    /// What is due is requested.
    fn expire(&mut self) {
        if self.deadline != 0 && cpu::ticks() >= self.deadline {
            self.deadline = 0;
            self.requested |= self.lvt & MASKED == 0;
        }
    }

    const fn read(&self, register: u32) -> Option<u64> {
        match register {
            IA32_TSC_DEADLINE => Some(self.deadline),
            X2APIC_LVT_TIMER => Some(self.lvt),
            _ => None,
        }
    }

    /// `None`: there is no such register, or it takes no such value.
    fn write(&mut self, register: u32, value: u64) -> Option<()> {
        match register {
            IA32_TSC_DEADLINE if self.lvt & MODE_TSC_DEADLINE != 0 => (self.deadline, self.requested) = (value, false),
            // Of no effect in another mode.
            IA32_TSC_DEADLINE => {}
            X2APIC_LVT_TIMER if is_lvt(value) => self.lvt = value,
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

fn is_lvt(value: u64) -> bool {
    let vector = value & VECTOR;
    let deadline = value & !(VECTOR | MASKED) == MODE_TSC_DEADLINE;
    value == MASKED || deadline && (value & MASKED != 0 || vector >= FIRST_VECTOR)
}

/// RDMSR or WRMSR of a register that is not the VM's own.
pub fn access(vm: &mut Vm, reason: u16) -> Next {
    let [register, low, high] = [Registers::RCX, Registers::RAX, Registers::RDX].map(|at| vm.registers.0[at] as u32);
    vm.timer.expire();
    let done = if reason == reason::WRMSR {
        vm.timer.write(register, u64::from(high) << 32 | u64::from(low))
    } else {
        vm.timer.read(register).map(|value| {
            vm.registers.0[Registers::RAX] = value & 0xffff_ffff;
            vm.registers.0[Registers::RDX] = value >> 32;
        })
    };
    done.map_or_else(inject::general_protection, |()| exit::skip(Next::Resume))
}

/// HLT: a VM whose timer is armed waits for it, any other gives its turn away.
pub fn halt(vm: &mut Vm) -> Next {
    vm.timer.halted = true;
    exit::skip(Next::Switch)
}

/// Before an entry: an interrupt that is due is injected, if the VM is in home and takes it; else the processor will say when.
pub fn deliver(vm: &mut Vm) {
    vm.timer.expire();
    vm.timer.halted = false;
    let mut waits = vm.timer.requested && !vm.timer.in_service;
    if waits && vm.in_crossing() && !state::can_call() {
        // It ends at its next instruction, with the flags that it has.
        waits = false;
    } else if waits && vm.in_crossing() {
        // As the gate's CLI is about to, if it has not yet; the stub's POPFQ puts it back. From here on no crossing has it set.
        write(Field::GuestRflags, read(Field::GuestRflags) & !flags::INTERRUPT);
        vm.turn_ends = vm.turn_ends.min(cpu::ticks().saturating_add(schedule::grace_ticks().max(PROGRESS)));
    } else if waits && state::takes_interrupts() && !inject::is_something() {
        inject::interrupt(vm.timer.lvt & VECTOR);
        (vm.timer.requested, vm.timer.in_service) = (false, true);
        vm.timer.injected += 1;
        waits = false;
    }
    if waits != core::mem::replace(&mut vm.timer.waits, waits) {
        let window = u64::from(Primary::INTERRUPT_WINDOW_EXITING.bits());
        let others = read(Field::PrimaryControls) & !window;
        write(Field::PrimaryControls, if waits { others | window } else { others });
    }
}
