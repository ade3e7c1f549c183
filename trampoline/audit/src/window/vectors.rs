//! Vector registers: which are used, by which instructions, and what they hold at the end (rule G12).

use super::calls::Order;
use crate::code::Code;
use crate::flow::{Fact, flow};
use crate::rule::Rule;
use iced_x86::{EncodingKind, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register};
use std::collections::BTreeMap;

/// The registers that frames go through.
const WORKING: [Register; 3] = [Register::YMM0, Register::YMM1, Register::YMM2];

/// Whether it touches registers of vectors, x87 or masks, or is one of their instructions without an operand.
pub fn is_vector(instruction: &Instruction) -> bool {
    let foreign = |register: Register| {
        register.is_vector_register()
            || register.is_mm()
            || register.is_st()
            || register.is_k()
            || register.is_bnd()
            || register.is_tmm()
    };
    let operands = (0..instruction.op_count()).any(|place| foreign(instruction.op_register(place)));
    operands || instruction.encoding() != EncodingKind::Legacy || instruction.fpu_stack_increment_info().writes_top()
}

/// Only the three, only instructions that can't leave the processor between two vector units: each of these is encoded
/// by VEX.
pub fn registers(code: &Code<'_>) -> Rule {
    let judge = |one: &Instruction| {
        let named = (0..one.op_count()).map(|place| one.op_register(place)).filter(|it| it.is_vector_register());
        if !is_vector(one) {
            None
        } else if !matches!(one.mnemonic(), Mnemonic::Vmovdqu | Mnemonic::Vpxor | Mnemonic::Vzeroupper) {
            Some("is not among the window's vector instructions")
        } else {
            let others = named.into_iter().any(|it| it.is_zmm() || !WORKING.contains(&whole(it)));
            others.then_some("uses another register than YMM0 to YMM2")
        }
    };
    let figure = format!("{} instructions", code.count(is_vector));
    let kinds = [Mnemonic::Vmovdqu, Mnemonic::Vpxor, Mnemonic::Vzeroupper];
    let counts = kinds.map(|kind| format!("{kind:?} {}", code.count(|one| one.mnemonic() == kind)).to_lowercase());
    Rule::new("YMM0 to YMM2", "G12", figure, code.wrong(judge)).detail(counts.join(", "))
}

fn whole(register: Register) -> Register {
    if register.is_xmm() { Register::YMM0 + register.number() as u32 } else { register }
}

/// A bit for each half of the three registers: the effect of a run of instructions on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    /// Halves that were not written.
    kept: u8,
    /// Halves that hold bytes of a frame.
    filled: u8,
}

const UPPER: u8 = 0b111_000;

impl Fact for Left {
    fn meet(self, other: Self) -> Self {
        Self { kept: self.kept | other.kept, filled: self.filled | other.filled }
    }
}

impl Left {
    const AT_ENTRY: Self = Self { kept: 0b111_111, filled: 0 };
    /// The state on a way that does not exist.
    const NOWHERE: Self = Self { kept: 0, filled: 0 };

    fn clear(self, halves: u8) -> Self {
        Self { kept: self.kept & !halves, filled: self.filled & !halves }
    }

    fn then(self, next: Self) -> Self {
        Self { kept: self.kept & next.kept, filled: self.filled & next.kept | next.filled }
    }

    fn run(self, instruction: &Instruction, info: &mut InstructionInfoFactory) -> Self {
        if instruction.mnemonic() == Mnemonic::Vzeroupper {
            return self.clear(UPPER);
        }
        let target = instruction.op0_register();
        let Some(place) = WORKING.iter().position(|one| *one == whole(target)) else { return self };
        if info.info(instruction).op0_access() != OpAccess::Write {
            return self;
        }
        let (low, both) = (1 << place, 0b1001 << place);
        let same = instruction.op1_register() == instruction.op2_register();
        let cleared = self.clear(both);
        match (instruction.mnemonic() == Mnemonic::Vpxor && same, target.is_xmm()) {
            (true, _) => cleared,
            (false, true) => Self { filled: cleared.filled | low, ..cleared },
            (false, false) => Self { filled: cleared.filled | both, ..cleared },
        }
    }
}

/// No register holds bytes of a frame when the window's entry point returns.
pub fn scrubbed(code: &Code<'_>, order: &Order, entry: u64) -> Rule {
    let mut made: BTreeMap<u64, Left> = BTreeMap::new();
    let mut findings = Vec::new();
    let mut info = InstructionInfoFactory::new();
    for start in &order.functions {
        let Some(function) = code.functions.get(start) else { continue };
        let at = |calls: &BTreeMap<u64, u64>, ip| calls.get(&ip).and_then(|callee| made.get(callee)).copied();
        let before = flow(code, (*start, function), Left::AT_ENTRY, |one, left| match at(&function.calls, one.ip()) {
            Some(called) => left.then(called),
            None => left.run(one, &mut info),
        });
        let mut all = Left::NOWHERE;
        for (instruction, left) in before.iter().filter_map(|(at, left)| Some((code.instructions.get(at)?, *left))) {
            let tail = at(&function.tails, instruction.ip()).map(|called| left.then(called));
            let returns = instruction.flow_control() == FlowControl::Return;
            let Some(left) = tail.or(returns.then_some(left)) else { continue };
            if *start == entry && left.filled != 0 {
                findings
                    .push(code.finding(instruction, &format!("leaves something of a frame in {}", names(left.filled))));
            }
            all = all.meet(left);
        }
        made.insert(*start, all);
    }
    let figure = format!("{} clear upper halves", code.count(|one| one.mnemonic() == Mnemonic::Vzeroupper));
    Rule::new("vectors scrubbed", "G12", figure, findings)
}

fn names(halves: u8) -> String {
    let holds = |place: &usize| halves & (0b1001 << *place) != 0;
    (0..WORKING.len()).filter(holds).map(|place| format!("YMM{place}")).collect::<Vec<_>>().join(", ")
}
