//! The registers of a VM's local APIC: the timer, and the pin LINT0, which is the interrupt line of its network device.
//! See: `sluice_abi::lapic`.

use crate::platform::cpu;
use sluice_abi::lapic::{
    FIRST_VECTOR, IA32_TSC_DEADLINE, LEVEL, MASKED, MODE_TSC_DEADLINE, X2APIC_EOI, X2APIC_LVT_LINT0, X2APIC_LVT_TIMER,
};

const VECTOR: u64 = 0xff;

/// The local APIC of a VM's vCPU.
pub struct LocalApic {
    /// Value of the time-stamp counter at which the timer expires; 0 while it is not armed.
    deadline: u64,
    /// Register of the local vector table for the timer.
    lvt: u64,
    /// Register of the local vector table for the device's line.
    lint0: u64,
    /// Whether the timer expired and its interrupt was not injected yet.
    requested: bool,
    /// Whether an interrupt was injected whose handler has not ended it.
    in_service: bool,
    /// Whether the VM executed HLT, which an expiry of the timer ends, and an interrupt.
    halted: bool,
    /// Whether interrupts were on when the VM executed HLT.
    interruptible: bool,
    /// Whether the processor exits as soon as interrupts are on.
    pub window_exiting: bool,
    /// Number of interrupts injected.
    injected: u64,
}

impl LocalApic {
    /// Returns the state after a reset.
    pub const fn new() -> Self {
        Self {
            deadline: 0,
            lvt: MASKED,
            lint0: MASKED,
            requested: false,
            in_service: false,
            halted: false,
            interruptible: false,
            window_exiting: false,
            injected: 0,
        }
    }

    /// Returns the value of the time-stamp counter at which the timer expires; the largest while it is not armed.
    pub const fn deadline(&self) -> u64 {
        if self.deadline == 0 { u64::MAX } else { self.deadline }
    }

    /// Returns how many interrupts were injected.
    pub const fn injected(&self) -> u64 {
        self.injected
    }

    /// Returns whether the device's line causes interrupts.
    pub const fn is_line_enabled(&self) -> bool {
        self.lint0 & MASKED == 0
    }

    /// Returns whether the VM has nothing to do before its timer expires or its device's line, which is `line` now, is
    /// high.
    pub fn sleeps(&mut self, line: bool) -> bool {
        self.expire();
        let enabled = self.is_line_enabled() && self.interruptible && !self.in_service;
        self.halted &= (self.deadline != 0 || enabled) && !self.requested && !(enabled && line);
        self.halted
    }

    /// Notes that the VM executed HLT, with interrupts on if `interruptible`.
    pub const fn halt(&mut self, interruptible: bool) {
        (self.halted, self.interruptible) = (true, interruptible);
    }

    /// Requests the timer's interrupt if the deadline has passed. An expiry ends a HLT, also if the interrupt is
    /// masked.
    pub fn expire(&mut self) {
        if self.deadline != 0 && cpu::ticks() >= self.deadline {
            (self.deadline, self.halted) = (0, false);
            self.requested |= self.lvt & MASKED == 0;
        }
    }

    /// Notes that the VM is about to execute. Returns whether an interrupt is due; the device's line is `line`.
    pub fn is_due(&mut self, line: bool) -> bool {
        self.expire();
        self.halted = false;
        (self.requested || self.is_line_enabled() && line) && !self.in_service
    }

    /// Begins the service of the interrupt that is due. Returns its vector.
    pub const fn accept(&mut self) -> u64 {
        let register = if self.requested { self.lvt } else { self.lint0 };
        (self.requested, self.in_service) = (false, true);
        self.injected += 1;
        register & VECTOR
    }

    /// Reads MSR `register`; `None` if there is no such register.
    pub const fn read(&self, register: u32) -> Option<u64> {
        match register {
            IA32_TSC_DEADLINE => Some(self.deadline),
            X2APIC_LVT_TIMER => Some(self.lvt),
            X2APIC_LVT_LINT0 => Some(self.lint0),
            _ => None,
        }
    }

    /// Writes `value` to MSR `register`; `None` if there is no such register, or it does not take the value.
    pub fn write(&mut self, register: u32, value: u64) -> Option<()> {
        match register {
            IA32_TSC_DEADLINE if self.lvt & MODE_TSC_DEADLINE != 0 => (self.deadline, self.requested) = (value, false),
            // In another mode the write has no effect.
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

/// Returns whether a register of the local vector table whose only mode is `mode` takes `value`.
fn is_lvt(value: u64, mode: u64) -> bool {
    let vector = value & VECTOR;
    let in_mode = value & !(VECTOR | MASKED) == mode;
    value == MASKED || in_mode && (value & MASKED != 0 || vector >= FIRST_VECTOR)
}
