//! The values that the VM's timer takes, and which of its expiries are interrupts.
//!
//! The interrupts have a vector that is a landing.

use super::host::exit_once;
use super::leap::{self, FLAGS, IF, State};
use super::{Error, arm};
use super::{cpu, snippet};
use sluice_abi::lapic::{IA32_TSC_DEADLINE, MASKED, MODE_TSC_DEADLINE, X2APIC_EOI, X2APIC_LVT_TIMER};
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("masked", |machine, _| expire(machine))];

/// A vector of an interrupt, and of a landing.
pub const VECTOR: u64 = 31;
const WRMSR: [u8; 2] = [0x0f, 0x30];
const NOPS: [u8; 4] = [0x90; 4];

/// Tries vectors, then expiries whose interrupt is masked, moved or taken back before interrupts are on.
fn expire(machine: &mut Vnf) -> Result<(), Error> {
    arm(machine)?;
    let refused = |value| {
        let mut state = State::at(0);
        (state.general[leap::RCX], state.general[leap::RAX]) = (X2APIC_LVT_TIMER.into(), value);
        snippet::execute(&WRMSR, &state) == snippet::REFUSED
    };
    let first = (0..256).find(|vector| !refused(MODE_TSC_DEADLINE | vector));
    let count = (0..256).filter(|vector| refused(MODE_TSC_DEADLINE | vector)).count();
    let masked = (0..256).filter(|vector| refused(MODE_TSC_DEADLINE | MASKED | vector)).count();
    println!("vectors: {count} refused, first taken {first:?}, {masked} refused where masked");
    if refused(MODE_TSC_DEADLINE | VECTOR) {
        return Err(Error::NotStopped(VECTOR));
    }
    for (name, value) in [("as it was", VECTOR), ("masked", MASKED | VECTOR), ("masked, vector 3", MASKED | 3)] {
        due();
        cpu::write_msr(X2APIC_LVT_TIMER, MODE_TSC_DEADLINE | value);
        told(name);
    }
    for (name, deadline) in [("armed anew", u64::MAX), ("taken back", 0)] {
        due();
        cpu::write_msr(IA32_TSC_DEADLINE, deadline);
        told(name);
    }
    Ok(())
}

/// Makes the timer expire. The interrupt waits until interrupts are on.
fn due() {
    cpu::write_msr(X2APIC_LVT_TIMER, MODE_TSC_DEADLINE | VECTOR);
    cpu::write_msr(IA32_TSC_DEADLINE, 1);
    exit_once();
}

/// Has interrupts on for a few instructions.
fn told(name: &str) {
    let landing = snippet::land(&NOPS, &State { rflags: FLAGS | IF, ..State::at(0) });
    println!("{name}: {}", if landing.vector == VECTOR { "an interrupt" } else { "none" });
    cpu::write_msr(IA32_TSC_DEADLINE, 0);
    cpu::write_msr(X2APIC_EOI, 0);
}
