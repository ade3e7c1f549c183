//! A24: instructions that the monitor executes, at the ends of what RIP can be.

use super::alias;
use super::crossing;
use super::descriptors::{USER_CODE, USER_CODE_32, USER_DATA};
use super::leap::State;
use super::{Error, arm};
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("ends", |machine, _| at_the_ends(machine))];

const CPUID: [u8; 2] = [0x0f, 0xa2];

/// Runs CPUID as a program. In compatibility mode RIP wraps, to bytes that are zero: ADD with the null segment. In
/// 64-bit mode it does not.
fn at_the_ends(machine: &mut Vnf) -> Result<(), Error> {
    arm(machine)?;
    let program = State { cs: USER_CODE, ss: USER_DATA, ..State::at(0) };
    let at = alias::end_of_4_gib(&CPUID);
    alias::open(0);
    let ends = [
        ("compatibility mode", State { rip: at, cs: USER_CODE_32, rsp: 0, ..program }),
        ("64-bit mode", State { rip: at, ..program }),
        ("lower half", State { rip: alias::end_of_lower_half(&CPUID), ..program }),
    ];
    for (name, state) in ends {
        let landing = crossing::call(&state);
        println!("{name}: exception {} at {:#x}", landing.vector, landing.rip);
    }
    println!("call after that: {}", crossing::checked(crossing::proper(0))?.end());
    Ok(())
}
