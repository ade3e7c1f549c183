//! The contents of general registers and flags when the window is left (attack A15).

use crate::code::Code;
use crate::flow::{Fact, flow};
use crate::rule::Rule;
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register, RflagsBits};
use std::ops::BitOr;

/// The registers that a function need not keep. See: System V ABI, AMD64 supplement, 3.2.1 "Registers".
const SCRATCH: [Register; 9] = {
    use Register::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI};
    [RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11]
};
const FLAGS: u16 = 1 << SCRATCH.len();
const ALL: u16 = FLAGS | (FLAGS - 1);
/// The bit of RAX, in which the entry point returns the status.
const STATUS: u16 = 1;
const STATUS_FLAGS: u32 = RflagsBits::OF | RflagsBits::SF | RflagsBits::ZF | RflagsBits::CF | RflagsBits::PF;

/// A bit for each register, and one for the flags, that may hold a value of the window's code.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Left(u16);

impl Fact for Left {
    fn meet(self, other: Self) -> Self {
        Self(self.0.bitor(other.0))
    }
}

/// The page clears all that the window's code may have left, but for the status and the number of accepted packets.
pub fn scrubbed(code: &Code<'_>, page: u64) -> Rule {
    let rule = |figure, findings| Rule::new("registers scrubbed", "G12", figure, findings);
    let Some(function) = code.functions.get(&page) else { return rule("no window page".into(), Vec::new()) };
    let mut info = InstructionInfoFactory::new();
    let before = flow(code, (page, function), Left(0), |one, left| behind(one, left, &mut info));
    let leaves = before.iter().filter_map(|(at, left)| Some((code.instructions.get(at)?, *left)));
    let leaves: Vec<_> = leaves.filter(|(one, _)| one.mnemonic() == Mnemonic::Vmfunc).collect();
    let dirty = leaves.iter().filter(|(_, left)| left.0 != 0);
    let findings =
        dirty.map(|(one, left)| code.finding(one, &format!("leaves the window with {}", names(left.0)))).collect();
    rule(format!("{} registers and the flags, {} way out", SCRATCH.len(), leaves.len()), findings)
}

fn behind(instruction: &Instruction, left: Left, info: &mut InstructionInfoFactory) -> Left {
    if instruction.flow_control() == FlowControl::Call || instruction.flow_control() == FlowControl::IndirectCall {
        return Left(ALL);
    }
    let (mut read, mut written) = (0, 0);
    for used in info.info(instruction).used_registers() {
        let Some(place) = SCRATCH.iter().position(|one| *one == used.register().full_register()) else { continue };
        match used.access() {
            // A write of 32 bits clears the others. See: SDM volume 1, 3.4.1.1 "General-Purpose Registers in 64-Bit
            // Mode".
            OpAccess::Write if used.register().size() >= 4 => written |= 1 << place,
            _ => read |= 1 << place,
        }
    }
    if instruction.rflags_modified() & STATUS_FLAGS == STATUS_FLAGS {
        written |= FLAGS;
    }
    if left.0 & read & !STATUS == 0 { Left(left.0 & !written) } else { Left(left.0 | written) }
}

fn names(left: u16) -> String {
    let register =
        (0..SCRATCH.len()).filter(|place| left & (1 << place) != 0).map(|place| format!("{:?}", SCRATCH[place]));
    register.chain((left & FLAGS != 0).then(|| "flags".into())).collect::<Vec<_>>().join(", ")
}
