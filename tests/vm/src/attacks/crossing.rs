//! Calls through the gate without the stub: a VMFUNC of the VM's own where the stub has its own, and registers as the
//! attack wants them.

use super::leap::{self, End, Landing, State};
use super::{Error, alias, cpu};
use sluice_gate::OPEN;

/// Returns the state that a call starts with: VMFUNC to the gate's first instruction, `count` packets, and 0 in all
/// other registers.
pub fn proper(count: u64) -> State {
    let mut state = State::at(alias::vmfunc_before(OPEN));
    state.general[leap::RCX] = 1;
    state.general[leap::RDI] = count;
    state
}

/// Calls with `state`.
pub fn call(state: &State) -> Landing {
    leap::leap(state)
}

/// The registers that the window keeps, by number: RBX, RBP, R12 to R15.
const KEPT: [usize; 6] = [3, 5, 12, 13, 14, 15];
const RSP: usize = 4;
/// The value of the registers in KEPT, and of the vector registers, before a call of [`checked`].
const MARK: u64 = 0x6b65_7074_6b65_7074;

/// Calls with `state` and marks in all registers that a call may keep. Checks that the call brings back status,
/// accepted packets, those marks (A15), the stack pointer as it was, and no other value.
pub fn checked(mut state: State) -> Result<Landing, Error> {
    KEPT.iter().for_each(|&number| state.general[number] = MARK);
    cpu::fill_vectors(MARK);
    let landing = call(&state);
    let vectors = cpu::vectors();
    let aborted = landing.end() == End::Aborted;
    let kept = if aborted { 0 } else { MARK };
    for (number, &value) in landing.general.iter().enumerate() {
        let wanted = match number {
            leap::RAX | leap::RDX | 8..=11 => continue,
            _ if KEPT.contains(&number) => kept,
            _ => 0,
        };
        if value != wanted {
            return Err(Error::Leaked { register: number, value });
        }
    }
    if landing.rsp != state.rsp {
        return Err(Error::Leaked { register: RSP, value: landing.rsp });
    }
    // The window leaves 0 in the registers that it used, and in the upper halves if it used any.
    let stray = vectors.as_flattened().iter().find(|&&word| word != 0 && word != kept);
    stray.map_or(Ok(landing), |&value| Err(Error::Leaked { register: 16, value }))
}
