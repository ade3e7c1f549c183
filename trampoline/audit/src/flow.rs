//! Facts that hold at an instruction of a function, on whichever way it is reached.

use crate::code::{Code, Function, successors};
use iced_x86::Instruction;
use std::collections::BTreeMap;

/// A fact about the machine. The order in which ways meet does not matter, and there are finitely many values.
pub trait Fact: Copy + PartialEq {
    /// Returns the fact that holds where a way with `self` and a way with `other` meet.
    fn meet(self, other: Self) -> Self;
}

/// What is known before each instruction of `function`, entered with `start`, where `step` says what is known behind
/// one.
pub fn flow<F: Fact>(
    code: &Code<'_>,
    (entry, function): (u64, &Function),
    start: F,
    mut step: impl FnMut(&Instruction, F) -> F,
) -> BTreeMap<u64, F> {
    let mut known = BTreeMap::from([(entry, start)]);
    let mut open = vec![entry];
    while let Some(address) = open.pop() {
        let (Some(instruction), Some(before)) = (code.instructions.get(&address), known.get(&address)) else {
            continue;
        };
        let behind = step(instruction, *before);
        for next in successors(instruction).into_iter().filter(|next| function.instructions.contains(next)) {
            let met = known.get(&next).map_or(behind, |other| behind.meet(*other));
            if known.insert(next, met) != Some(met) {
                open.push(next);
            }
        }
    }
    known
}
