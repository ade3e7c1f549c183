//! The depth of the window's stack, and its balance at each return.

use super::calls::Order;
use crate::access::sets;
use crate::code::{Code, Function};
use crate::flow::{Fact, flow};
use crate::rule::{Finding, Rule};
use iced_x86::{Code as Opcode, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, Register};
use sluice_abi::map;
use std::collections::{BTreeMap, BTreeSet};

/// Where the stack ends, and where the state is, in the window view.
const STACK_TOP: u64 = map::SLOT_VA + map::STACK + map::STACK_LEN;
const STATE: std::ops::Range<u64> = map::SLOT_VA + map::STATE..map::SLOT_VA + map::STATE + map::STATE_LEN;
/// Bytes of a return address.
const RETURN: u64 = 8;

/// The value of RSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rsp {
    /// A value that the guest chose.
    Foreign,
    /// This number of bytes below the value at entry, or below the top of the window's stack.
    Depth(u64),
    /// Another value.
    Unknown,
}

impl Fact for Rsp {
    fn meet(self, other: Self) -> Self {
        if self == other { self } else { Self::Unknown }
    }
}

/// The stack that a function needs, with all that it calls.
#[derive(Clone, Default)]
struct Need {
    bytes: u64,
    /// The functions that are running when the stack is deepest.
    chain: Vec<u64>,
}

/// The stack suffices, and every function returns with it as it was. At `page`, RSP still holds the guest's value.
pub fn rules(code: &Code<'_>, order: &Order, page: u64) -> [Rule; 2] {
    let mut needs = BTreeMap::new();
    let mut findings = BTreeSet::new();
    for start in &order.functions {
        let entered = if *start == page { Rsp::Foreign } else { Rsp::Depth(0) };
        let need =
            Stack { code, needs: &needs, findings: &mut findings, info: InstructionInfoFactory::new(), unknown: false }
                .need(*start, entered);
        needs.insert(*start, need);
    }
    let deepest = needs.remove(&page).unwrap_or_default();
    let mut over = order.circles.clone();
    if let Some(at) = deepest.chain.last().copied().filter(|_| deepest.bytes > map::STACK_LEN) {
        over.push(Finding {
            address: at,
            symbol: code.name(at),
            what: format!("needs {} bytes of stack", deepest.bytes),
        });
    }
    let chain: Vec<_> = deepest.chain.iter().map(|start| code.name(*start)).collect();
    let figure = format!("{} of {} bytes", deepest.bytes, map::STACK_LEN);
    let calls = code.count(|one| one.mnemonic() == Mnemonic::Call);
    let returns = format!("{} returns, {calls} calls", code.count(|one| one.flow_control() == FlowControl::Return));
    [
        Rule::new("bounded stack", "G4", figure, over).detail(chain.join(" > ")),
        Rule::new("balanced stack", "G4", returns, findings.into_iter().collect()),
    ]
}

struct Stack<'a, 'c> {
    code: &'c Code<'c>,
    needs: &'a BTreeMap<u64, Need>,
    findings: &'a mut BTreeSet<Finding>,
    info: InstructionInfoFactory,
    /// Ways with different stacks have met in this function.
    unknown: bool,
}

impl Stack<'_, '_> {
    fn need(&mut self, start: u64, entered: Rsp) -> Need {
        let code = self.code;
        let Some(function) = code.functions.get(&start) else { return Need::default() };
        let depths = flow(code, (start, function), entered, |one, rsp| self.behind(function, one, rsp));
        let mut deepest = Need { bytes: 0, chain: vec![start] };
        for (at, rsp) in depths {
            let Some(instruction) = code.instructions.get(&at) else { continue };
            let Rsp::Depth(own) = rsp.max(self.behind(function, instruction, rsp)) else { continue };
            let called = function.calls.get(&at).map(|callee| (callee, own + RETURN));
            let called = called.or_else(|| function.tails.get(&at).map(|callee| (callee, own)));
            let need = called.and_then(|(callee, depth)| {
                self.needs.get(callee).map(|need| (depth + need.bytes, need.chain.as_slice()))
            });
            let (bytes, chain) = need.unwrap_or((own, &[]));
            if bytes > deepest.bytes {
                deepest = Need { bytes, chain: [&[start], chain].concat() };
            }
        }
        deepest
    }

    /// RSP behind `instruction`.
    fn behind(&mut self, function: &Function, instruction: &Instruction, rsp: Rsp) -> Rsp {
        self.run(function, instruction, rsp).unwrap_or_else(|what| {
            self.findings.insert(self.code.finding(instruction, what));
            rsp
        })
    }

    fn run(&mut self, function: &Function, instruction: &Instruction, rsp: Rsp) -> Result<Rsp, &'static str> {
        let returns = instruction.flow_control() == FlowControl::Return;
        let (touches, sets) = (self.touches(instruction), sets(instruction, Register::RSP, &mut self.info));
        if rsp == Rsp::Unknown {
            // Once in a function: what follows is as unknown.
            let news = (returns || touches || sets) && !std::mem::replace(&mut self.unknown, true);
            return if news { Err("is reached with different stacks") } else { Ok(rsp) };
        }
        if returns && (rsp != Rsp::Depth(0) || instruction.stack_pointer_increment() != RETURN as i32) {
            return Err("does not return with the stack as it was");
        }
        if function.tails.contains_key(&instruction.ip()) && rsp != Rsp::Depth(0) {
            return Err("goes to another function with something on the stack");
        }
        if touches && rsp == Rsp::Foreign {
            return Err("uses the guest's stack");
        }
        let plain = instruction.memory_base() == Register::RSP && instruction.memory_index() == Register::None;
        let below = plain && (instruction.memory_displacement64() as i64) < 0;
        if below && instruction.mnemonic() != Mnemonic::Lea {
            return Err("reaches below the stack");
        }
        // The called function returns with the stack as it was, or has a finding of its own.
        let called = matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall);
        if returns || called || !sets { Ok(rsp) } else { set(instruction, rsp) }
    }

    /// Whether it reads or writes memory by RSP.
    fn touches(&mut self, instruction: &Instruction) -> bool {
        self.info.info(instruction).used_memory().iter().any(|memory| memory.base() == Register::RSP)
    }
}

/// RSP behind `instruction`, in code whose stack is balanced.
pub fn moved(instruction: &Instruction, rsp: Rsp, info: &mut InstructionInfoFactory) -> Rsp {
    let stays =
        matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall | FlowControl::Return);
    if stays || !sets(instruction, Register::RSP, info) { rsp } else { set(instruction, rsp).unwrap_or(rsp) }
}

/// An instruction that writes RSP.
fn set(instruction: &Instruction, rsp: Rsp) -> Result<Rsp, &'static str> {
    let whole = instruction.op0_register() == Register::RSP;
    let fixed = instruction.is_ip_rel_memory_operand().then(|| instruction.ip_rel_memory_address());
    let down = match instruction.code() {
        Opcode::Lea_r64_m if whole && fixed == Some(STACK_TOP) => return Ok(Rsp::Depth(0)),
        Opcode::Mov_r64_rm64 if whole && fixed.is_some_and(|at| STATE.contains(&at)) => return Ok(Rsp::Foreign),
        Opcode::Sub_rm64_imm8 | Opcode::Sub_rm64_imm32 if whole => instruction.immediate(1) as i64,
        Opcode::Add_rm64_imm8 | Opcode::Add_rm64_imm32 if whole => -(instruction.immediate(1) as i64),
        Opcode::Lea_r64_m
            if whole && instruction.memory_base() == Register::RSP && instruction.memory_index() == Register::None =>
        {
            -(instruction.memory_displacement64() as i64)
        }
        _ if instruction.is_stack_instruction() && !whole => -i64::from(instruction.stack_pointer_increment()),
        _ => return Err("makes the stack what can't be told here"),
    };
    let Rsp::Depth(depth) = rsp else { return Err("moves the guest's stack") };
    depth.checked_add_signed(down).map(Rsp::Depth).ok_or("gives back more than was taken")
}

impl Rsp {
    /// The deeper one.
    fn max(self, other: Self) -> Self {
        match (self, other) {
            (Self::Depth(a), Self::Depth(b)) => Self::Depth(a.max(b)),
            (Self::Depth(_), _) => self,
            _ => other,
        }
    }
}
