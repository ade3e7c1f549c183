//! One instruction in home that may raise an exception.

use super::alias;
use super::leap::{self, Landing, State};

/// The vector of #GP.
pub const REFUSED: u64 = 13;

/// Executes the instruction `code` with `state`'s registers, in `state`'s ring, and returns the exception that ends it.
pub fn execute(code: &[u8], state: &State) -> u64 {
    land(code, state).vector
}

/// Executes `code` with `state`, and returns where that ends.
pub fn land(code: &[u8], state: &State) -> Landing {
    let rip = alias::alone(code);
    leap::leap(&State { rip, ..*state })
}

/// Does the same in ring 0, with RAX at `operand` and 0 in the other registers.
pub fn run<T>(code: &[u8], operand: &T) -> u64 {
    let mut state = State::at(0);
    state.general[leap::RAX] = core::ptr::from_ref(operand).addr() as u64;
    execute(code, &state)
}
