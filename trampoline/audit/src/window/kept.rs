//! Registers that a function gives back unchanged: they hold the caller's values, and no peer's (attack A15).
//!
//! The rule follows pushes, pops and writes between them, but no stores into the stack, whose places an index may
//! choose.

use super::stack::{Rsp, moved};
use crate::access::sets;
use crate::code::{Code, Function};
use crate::flow::{Fact, flow};
use crate::rule::{Finding, Rule};
use iced_x86::{Code as Opcode, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, Register};

/// See: System V ABI, AMD64 supplement, 3.2.1 "Registers".
const KEPT: [Register; 6] = {
    use Register::{R12, R13, R14, R15, RBP, RBX};
    [RBX, RBP, R12, R13, R14, R15]
};

/// The place of a register's value at entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// The value is in the register.
    Register,
    /// The value was pushed at this depth of the stack; the register holds it, too, until it is written.
    Pushed(u64),
    /// The value is lost.
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept {
    rsp: Rsp,
    values: [Value; KEPT.len()],
    /// A bit for each register that holds another value now.
    written: u8,
}

impl Fact for Kept {
    fn meet(self, other: Self) -> Self {
        let mut values = self.values;
        for (value, other) in values.iter_mut().zip(other.values) {
            *value = if *value == other { *value } else { Value::Lost };
        }
        Self { rsp: self.rsp.meet(other.rsp), values, written: self.written | other.written }
    }
}

/// Each function has restored the registers when it returns.
pub fn rule(code: &Code<'_>, page: u64) -> Rule {
    let mut findings = Vec::new();
    for (start, function) in &code.functions {
        let rsp = if *start == page { Rsp::Foreign } else { Rsp::Depth(0) };
        findings.extend(lost(code, *start, function, rsp));
    }
    let pops = code.count(|one| one.code() == Opcode::Pop_r64 && KEPT.contains(&one.op0_register()));
    Rule::new("registers kept", "G12", format!("{} registers, {pops} restored", KEPT.len()), findings)
}

fn lost(code: &Code<'_>, start: u64, function: &Function, rsp: Rsp) -> Vec<Finding> {
    let mut info = InstructionInfoFactory::new();
    let entered = Kept { rsp, values: [Value::Register; _], written: 0 };
    let before = flow(code, (start, function), entered, |one, kept| kept.behind(one, &mut info));
    let leaves = |one: &&Instruction| {
        let left = one.flow_control() == FlowControl::Return || one.mnemonic() == Mnemonic::Vmfunc;
        left || function.tails.contains_key(&one.ip())
    };
    let ends = before.iter().filter_map(|(at, kept)| Some((code.instructions.get(at).filter(leaves)?, kept)));
    let wrong = ends.filter(|(_, kept)| kept.written != 0);
    wrong.map(|(one, kept)| code.finding(one, &format!("does not give back {}", kept.names()))).collect()
}

impl Kept {
    fn behind(mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) -> Self {
        let before = self.rsp;
        self.rsp = moved(instruction, before, info);
        // The called function keeps them, or has a finding of its own.
        if instruction.flow_control() == FlowControl::Call {
            return self;
        }
        for (place, register) in KEPT.iter().enumerate() {
            let own = instruction.op0_register() == *register;
            match (instruction.code(), before, self.rsp, self.values[place]) {
                (Opcode::Push_r64, _, Rsp::Depth(depth), Value::Register) if own => {
                    self.values[place] = Value::Pushed(depth)
                }
                (Opcode::Pop_r64, Rsp::Depth(depth), _, Value::Pushed(at)) if own && at == depth => {
                    (self.values[place], self.written) = (Value::Register, self.written & !(1 << place));
                }
                _ if sets(instruction, *register, info) => self.write(place),
                _ => {}
            }
        }
        self
    }

    fn write(&mut self, place: usize) {
        self.written |= 1 << place;
        if self.values[place] == Value::Register {
            self.values[place] = Value::Lost;
        }
    }

    fn names(self) -> String {
        let written = (0..KEPT.len()).filter(|place| self.written & (1 << place) != 0);
        written.map(|place| format!("{:?}", KEPT[place])).collect::<Vec<_>>().join(", ")
    }
}
