//! A1, A3, A11: VMFUNC by a program in ring 3, in 64-bit and in compatibility mode. VMFUNC needs no privilege, and the
//! VM goes on whatever the program does.

use super::alias;
use super::crossing;
use super::descriptors::{USER_CODE, USER_CODE_32, USER_DATA};
use super::leap::{self, State};
use super::snippet;
use super::{Error, arm, ask_one};
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("vmfunc", |machine, how| vmfunc(machine, super::three_numbers(how)?)),
    ("rings", |machine, _| call(machine)),
    ("hypercalls", |machine, _| hypercalls(machine)),
];

/// The numbers of hypercalls, and one more.
const HYPERCALLS: u64 = 10;
/// The vector of #UD.
const UNDEFINED: u64 = 6;
const VMFUNC: [u8; 3] = [0x0f, 0x01, 0xd4];

/// The state of a program in ring 3.
fn program(state: State) -> State {
    State { cs: USER_CODE, ss: USER_DATA, ..state }
}

/// Executes VMFUNC with `leaf` and `view` in ring `ring`, and prints the exception. In ring 0 a leaf or view that does
/// not exist ends the VM.
fn vmfunc(machine: &mut Vnf, (leaf, view, ring): (u64, u64, u64)) -> Result<(), Error> {
    arm(machine)?;
    let mut state = State::at(0);
    (state.general[leap::RAX], state.general[leap::RCX]) = (leaf, view);
    let state = if ring == 3 { program(state) } else { state };
    println!("leaf {leaf} view {view} ring {ring}: exception {}", snippet::execute(&VMFUNC, &state));
    Ok(())
}

/// Executes each hypercall in ring 3, and a number that none has, and prints the exceptions.
fn hypercalls(machine: &mut Vnf) -> Result<(), Error> {
    const VMCALL: [u8; 3] = [0x0f, 0x01, 0xc1];
    arm(machine)?;
    let refused = (0..HYPERCALLS).filter(|&number| {
        let mut state = program(State::at(0));
        state.general[leap::RAX] = number;
        snippet::execute(&VMCALL, &state) == UNDEFINED
    });
    println!("vmcall ring 3: {} of {HYPERCALLS} refused", refused.count());
    Ok(())
}

/// Makes a proper call from ring 3, one in compatibility mode, and checks what the kernel of that VM can still do.
fn call(machine: &mut Vnf) -> Result<(), Error> {
    ask_one(&arm(machine)?)?;
    let landing = crossing::call(&program(crossing::proper(1)));
    println!("ring 3: {}, in ring {}", landing.end(), landing.cs & 3);
    let mut state = program(crossing::proper(1));
    (state.cs, state.rip, state.rsp) = (USER_CODE_32, alias::below_4_gib(&VMFUNC), 0);
    let landing = crossing::call(&state);
    let place = if landing.rip == state.rip + VMFUNC.len() as u64 { "behind the VMFUNC" } else { "elsewhere" };
    println!("compatibility mode: {} {place}", landing.end());
    println!("ring 0: {}", crossing::checked(crossing::proper(1))?.end());
    Ok(())
}
