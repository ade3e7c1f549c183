//! A26: debug exceptions in home, which exit. Their handler has to find what it would find without a monitor.

use super::debug::{self, On};
use super::descriptors::{KERNEL_DATA, USER_CODE, USER_DATA};
use super::leap::{self, FLAGS, Landing, State, TF};
use super::{Error, arm};
use super::{alias, snippet};
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("debugged", |machine, _| debugged(machine))];

const NOP: u8 = 0x90;
const CPUID_NOP: [u8; 3] = [0x0f, 0xa2, NOP];
const MOV_RCX_DR0: [u8; 3] = [0x0f, 0x21, 0xc1];
const MOV_RCX_DR7: [u8; 3] = [0x0f, 0x21, 0xf9];
/// The code of MOV SS from where RBX points, and INT1.
const MOV_SS_INT1: [u8; 3] = [0x8e, 0x13, 0xf1];
const MOV_SS_CPUID_NOP: [u8; 5] = [0x8e, 0x13, 0x0f, 0xa2, NOP];
const MOV_SS_UD2: [u8; 4] = [0x8e, 0x13, 0x0f, 0x0b];

/// Raises each kind of debug exception.
fn debugged(machine: &mut Vnf) -> Result<(), Error> {
    arm(machine)?;
    debug::take_status();
    let kernel = State { rflags: FLAGS | TF, ..State::at(0) };
    let program = State { cs: USER_CODE, ss: USER_DATA, ..kernel };
    for (name, state) in [("kernel", kernel), ("program", program)] {
        tell(name, "step", snippet::land(&[NOP, NOP], &state));
        tell(name, "step over cpuid", snippet::land(&CPUID_NOP, &state));
        let at = alias::alone(&[NOP]);
        debug::set(at, On::Execution);
        tell(name, "breakpoint", snippet::land(&[NOP], &State { rflags: FLAGS, ..state }));
        debug::clear();
    }
    let selector = KERNEL_DATA;
    let mut held = kernel;
    held.general[leap::RBX] = (&raw const selector).addr() as u64;
    tell("mov ss", "int1", snippet::land(&MOV_SS_INT1, &held));
    tell("mov ss", "step over cpuid", snippet::land(&MOV_SS_CPUID_NOP, &held));
    tell("mov ss", "ud2", snippet::land(&MOV_SS_UD2, &held));
    guarded()
}

/// Prints the exception, how far RIP came, and DR6.
fn tell(who: &str, what: &str, landing: Landing) {
    println!(
        "{who}, {what}: exception {} at {}, dr6 {:#x}",
        landing.vector,
        landing.rip - leap::GATE,
        debug::take_status()
    );
}

/// Tries DR7.GD: access to a debug register is an exception, whose handler may use the registers.
fn guarded() -> Result<(), Error> {
    debug::guard();
    let first = snippet::execute(&MOV_RCX_DR0, &State::at(0));
    let second = snippet::land(&MOV_RCX_DR7, &State::at(0));
    if second.vector != 3 {
        // The handler may not use the registers here, and so nobody may.
        return Err(Error::NotStopped(second.vector));
    }
    println!("guarded: exception {first}, then dr7 {:#x}, dr6 {:#x}", second.general[leap::RCX], debug::take_status());
    Ok(())
}
