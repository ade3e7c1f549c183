//! Rules of the instructions in the window, and of their operands.

use super::vectors::is_vector;
use crate::binary::Binary;
use crate::code::Code;
use crate::rule::Rule;
use iced_x86::{ConditionCode, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register};
use sluice_abi::map;
use std::collections::BTreeMap;

/// Those of 64-bit mode that compute, move, compare and branch, and can't fault but by an address. Jcc, SETcc and
/// CMOVcc besides. (A processor that has no TZCNT executes it as BSF, which gives the same for all but 0.)
const ORDINARY: &[Mnemonic] = {
    use Mnemonic::*;
    &[
        Adc, Add, And, Bsf, Bsr, Bswap, Bt, Btc, Btr, Bts, Call, Cdq, Cdqe, Cmp, Cmpxchg, Cqo, Cwde, Dec, Imul, Inc,
        Jmp, Lea, Mov, Movsx, Movsxd, Movzx, Mul, Neg, Nop, Not, Or, Pop, Push, Ret, Rol, Ror, Sar, Sbb, Shl, Shld,
        Shr, Shrd, Sub, Test, Tzcnt, Xadd, Xchg, Xor,
    ]
};
/// Further instructions of the fast path: copies, and fences.
const SPECIAL: [Mnemonic; 5] =
    [Mnemonic::Lfence, Mnemonic::Mfence, Mnemonic::Movsb, Mnemonic::Prefetcht0, Mnemonic::Prefetchw];
/// Further instructions of the window page, which reads the flags and leaves the window.
const PAGE: [Mnemonic; 2] = [Mnemonic::Pushfq, Mnemonic::Vmfunc];

/// Every instruction is among these. Vector instructions have a rule of their own.
pub fn instructions(code: &Code<'_>, page: u64) -> Rule {
    let on_page = |one: &Instruction| {
        (page & !(map::PAGE - 1)..).contains(&one.ip()) && one.ip() < (page & !(map::PAGE - 1)) + map::PAGE
    };
    let judge = |one: &Instruction| {
        let mnemonic = one.mnemonic();
        let conditional = one.condition_code() != ConditionCode::None && !one.is_loopcc();
        let listed =
            ORDINARY.contains(&mnemonic) || SPECIAL.contains(&mnemonic) || on_page(one) && PAGE.contains(&mnemonic);
        let system = (0..one.op_count()).any(|place| is_system(one.op_register(place)));
        (!is_vector(one) && !conditional && !listed || system).then_some("is not among the window's instructions")
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    code.instructions
        .values()
        .for_each(|one| *counts.entry(format!("{:?}", one.mnemonic()).to_lowercase()).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let list: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let figure = format!("{} instructions", code.instructions.len());
    Rule::new("instructions", "G12", figure, code.wrong(judge)).detail(list.join(", "))
}

/// MOV, PUSH and POP reach these, too.
fn is_system(register: Register) -> bool {
    register.is_segment_register() || register.is_cr() || register.is_dr() || register.is_tr()
}

/// The code names the target of each branch and call: none goes through a register or memory.
pub fn direct(code: &Code<'_>) -> Rule {
    let judge = |one: &Instruction| match one.flow_control() {
        FlowControl::IndirectBranch | FlowControl::IndirectCall => Some("goes where a register or memory says"),
        _ => None,
    };
    let branch = |one: &Instruction| {
        matches!(one.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch)
    };
    let figure = format!("{} direct branches", code.count(branch));
    Rule::new("no indirect branch", "G12", figure, code.wrong(judge))
}

/// Every branch and call leads to an instruction of window page or image.
pub fn inside(code: &Code<'_>) -> Rule {
    let targets = code.functions.values().map(|function| function.calls.len() + function.tails.len()).sum::<usize>();
    Rule::new("no way out", "G12", format!("{targets} calls"), code.astray.clone())
}

/// FS and GS are the guest's (attack A10).
pub fn segments(code: &Code<'_>) -> Rule {
    let mut memory = 0;
    let findings = code.wrong(|one| {
        memory += usize::from(one.memory_base() != Register::None);
        matches!(one.memory_segment(), Register::FS | Register::GS).then_some("goes through a segment of the guest's")
    });
    Rule::new("no FS or GS", "G4", format!("{memory} memory operands"), findings)
}

/// An address that is in the code is one of the image's constants, which are only read, or in the state that the host
/// maps.
pub fn statics(code: &Code<'_>, image: &Binary) -> Rule {
    let mut info = InstructionInfoFactory::new();
    let mut fixed = 0;
    let state = map::SLOT_VA + map::STATE..map::SLOT_VA + map::STATE + map::STATE_LEN;
    let stack_top = map::SLOT_VA + map::STACK + map::STACK_LEN;
    let findings = code.wrong(|one| {
        let absolute =
            one.memory_base() == Register::None && one.memory_index() == Register::None && one.memory_displ_size() > 0;
        if absolute {
            return Some("has an absolute address");
        }
        if !one.is_ip_rel_memory_operand() {
            return None;
        }
        fixed += 1;
        let at = one.ip_rel_memory_address();
        let writes = info.info(one).used_memory().iter().any(|memory| memory.access() != OpAccess::Read);
        let constant = image.segment(at).is_some_and(|segment| !segment.execute) && !writes;
        let stack = one.mnemonic() == Mnemonic::Lea && at == stack_top;
        (!constant && !stack && !state.contains(&at))
            .then_some("names an address that is neither a constant nor in the state")
    });
    Rule::new("no statics", "G7", format!("{fixed} fixed addresses"), findings)
}
