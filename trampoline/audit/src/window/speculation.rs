//! Bounds of speculation: every address is bounded by an instruction that is no branch (rule G8, attack A27).
//!
//! Follows the code from the window page on, through calls and spills. What is loaded from request, packets and rings
//! is named by somebody else; an AND, a conditional move behind its comparison, or the width of a load bounds it, and
//! nothing else does. Within the state such a number must choose a place of the state; behind any other pointer it must
//! stay below [`map::SPECULATION_REACH`], where nothing of anybody else lies. What the window itself stored in the
//! state is taken for its own.

use super::value::{ANYTHING, Value};
use crate::access::writes;
use crate::code::{Code, Function, successors};
use crate::rule::{Finding, Rule};
use iced_x86::{ConditionCode, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};
use sluice_abi::map;
use std::collections::{BTreeMap, BTreeSet};

const STATE: u64 = map::SLOT_VA + map::STATE;
const STACK_TOP: u64 = map::SLOT_VA + map::STACK + map::STACK_LEN;
/// The request block, and what lies behind it: nothing, up to the tables. Bytes from the start of the state.
const REQUEST: std::ops::Range<u64> = map::REQUEST - map::STATE..map::TABLES - map::STATE;

/// The facts before an instruction.
#[derive(Clone, PartialEq)]
struct Known {
    registers: [Value; 16],
    /// Words of the stack, and how many bytes each has.
    stack: BTreeMap<i64, (Value, usize)>,
    /// The last comparison: a register, and the value that it was compared with.
    compared: Option<(Register, Value)>,
}

/// Every access at an address that others have a part in is bounded.
pub fn bounded(code: &Code<'_>, page: u64) -> Rule {
    let mut walk = Walk {
        code,
        info: InstructionInfoFactory::new(),
        done: BTreeMap::new(),
        running: BTreeSet::new(),
        seen: BTreeMap::new(),
    };
    walk.function(page, Known { registers: [Value::Own; 16], stack: BTreeMap::new(), compared: None });
    let findings: Vec<_> = walk.seen.values().filter_map(|(_, wrong)| wrong.clone()).collect();
    let of = |kind| walk.seen.values().filter(|(seen, _)| *seen == kind).count();
    let (state, reach) = (of(Kind::State), of(Kind::Reach));
    Rule::new("bounded speculation", "G8", format!("{state} masked, {reach} within reach"), findings)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    State,
    Reach,
}

struct Walk<'c> {
    code: &'c Code<'c>,
    info: InstructionInfoFactory,
    /// Functions, with the facts at their entry and the facts behind them.
    done: BTreeMap<u64, Vec<(Known, Option<Known>)>>,
    running: BTreeSet<u64>,
    /// Accesses at addresses that others have a part in, and findings about them.
    seen: BTreeMap<u64, (Kind, Option<Finding>)>,
}

impl Walk<'_> {
    /// Returns the facts behind the function at `start`, if it returns.
    fn function(&mut self, start: u64, entered: Known) -> Option<Known> {
        let before = self.done.get(&start).into_iter().flatten().find(|(known, _)| *known == entered);
        if let Some((_, behind)) = before {
            return behind.clone();
        }
        let function = self.code.functions.get(&start)?;
        // Another rule finds recursion.
        if !self.running.insert(start) {
            return None;
        }
        let behind = self.ways(start, function, entered.clone());
        self.running.remove(&start);
        self.done.entry(start).or_default().push((entered, behind.clone()));
        behind
    }

    fn ways(&mut self, start: u64, function: &Function, entered: Known) -> Option<Known> {
        let mut known = BTreeMap::from([(start, entered)]);
        let (mut open, mut returned) = (BTreeSet::from([start]), None);
        while let Some(at) = open.pop_first() {
            let (Some(one), Some(mut now)) = (self.code.instructions.get(&at).copied(), known.get(&at).cloned()) else {
                continue;
            };
            self.look(&one, &now);
            now.run(&one, &mut self.info);
            if let Some(target) = function.calls.get(&at).or(function.tails.get(&at)) {
                let Some(behind) = self.function(*target, now.clone()) else { continue };
                if function.tails.contains_key(&at) {
                    meet(&mut returned, &behind);
                } else {
                    now = behind;
                }
            }
            if one.flow_control() == FlowControl::Return {
                meet(&mut returned, &now);
            }
            for next in successors(&one).into_iter().filter(|next| function.instructions.contains(next)) {
                let mut met = known.get(&next).cloned();
                if meet(&mut met, &now) {
                    known.extend(met.map(|met| (next, met)));
                    open.insert(next);
                }
            }
        }
        returned
    }

    /// Notes an access at an address that others have a part in. A prefetch is one, too.
    fn look(&mut self, one: &Instruction, known: &Known) {
        let place = known.address(one);
        let string = one.is_string_instruction().then(|| [Register::RSI, Register::RDI].map(|it| known.get(it)));
        let operand = has_memory(one) && !matches!(one.mnemonic(), Mnemonic::Lea | Mnemonic::Nop);
        for value in operand.then_some(place).into_iter().chain(string.into_iter().flatten()) {
            let Some((kind, holds)) = judge(value, one.memory_size().size() as u64) else { continue };
            let wrong =
                (!holds).then(|| self.code.finding(one, "may touch anything speculatively: no mask bounds where"));
            let seen = self.seen.entry(one.ip()).or_insert((kind, None));
            seen.1 = seen.1.take().or(wrong);
        }
    }
}

/// Returns `None` unless others have a part in the address `value`; else whether `len` bytes there are within bounds.
fn judge(value: Value, len: u64) -> Option<(Kind, bool)> {
    match value {
        Value::State { first, last, named: true } => {
            let end = last.saturating_add(len);
            Some((Kind::State, end <= map::STATE_LEN || first >= REQUEST.start && end <= REQUEST.end))
        }
        Value::Reach(most) => Some((Kind::Reach, most.saturating_add(len) <= map::SPECULATION_REACH)),
        _ => None,
    }
}

/// Returns whether the facts changed.
fn meet(into: &mut Option<Known>, other: &Known) -> bool {
    let met = match into.as_ref() {
        None => other.clone(),
        Some(before) => before.meet(other),
    };
    let news = into.as_ref() != Some(&met);
    *into = Some(met);
    news
}

fn has_memory(one: &Instruction) -> bool {
    (0..one.op_count()).any(|place| one.op_kind(place) == OpKind::Memory)
}

impl Known {
    fn meet(&self, other: &Self) -> Self {
        let mut met = self.clone();
        met.registers.iter_mut().zip(other.registers).for_each(|(into, other)| *into = into.meet(other));
        met.stack.retain(|at, _| other.stack.contains_key(at));
        for (at, (value, len)) in &mut met.stack {
            let (theirs, size) = other.stack[at];
            (*value, *len) = (value.meet(theirs), size.min(*len));
        }
        met.compared = self.compared.filter(|it| other.compared == Some(*it));
        met
    }

    fn get(&self, register: Register) -> Value {
        let whole = register.full_register();
        let value = if whole.is_gpr() { self.registers[whole.number()] } else { Value::Own };
        value.low(register.size())
    }

    fn set(&mut self, register: Register, value: Value) {
        let whole = register.full_register();
        if !whole.is_gpr() {
            return;
        }
        let before = &mut self.registers[whole.number()];
        *before = match (register.size(), value) {
            (4 | 8, value) => value.low(register.size()),
            _ => Value::Own,
        };
        self.compared = self.compared.filter(|(compared, _)| compared.full_register() != whole);
    }

    /// Returns the address of the memory operand.
    fn address(&self, one: &Instruction) -> Value {
        if one.is_ip_rel_memory_operand() {
            return match one.ip_rel_memory_address() {
                STACK_TOP => Value::Stack(0),
                at if (STATE..STATE + map::STATE_LEN).contains(&at) => state(at - STATE),
                _ => Value::Own,
            };
        }
        let part = |register: Register| if register == Register::None { Value::Const(0) } else { self.get(register) };
        let index = part(one.memory_index()).times(one.memory_index_scale().into());
        part(one.memory_base()).plus(index).plus(Value::Const(one.memory_displacement64()))
    }

    fn load(&self, at: Value, len: usize) -> Value {
        match at {
            Value::Stack(at) => match self.stack.get(&at) {
                Some((value, stored)) if *stored >= len => value.low(len),
                _ => Value::Own,
            },
            Value::State { first, last, .. } if last < map::STATE_LEN || first >= STACK_TOP => Value::Own,
            _ => ANYTHING.low(len),
        }
    }

    fn store(&mut self, at: Value, value: Value, len: usize) {
        if let Value::Stack(at) = at {
            self.stack.retain(|other, (_, size)| *other >= at + len as i64 || *other + *size as i64 <= at);
            self.stack.insert(at, (value, len));
        }
    }

    fn operand(&self, one: &Instruction, place: u32) -> Value {
        match one.op_kind(place) {
            OpKind::Register => self.get(one.op_register(place)),
            OpKind::Memory if one.is_ip_rel_memory_operand() && self.address(one) == Value::Own => Value::Own,
            OpKind::Memory => self.load(self.address(one), one.memory_size().size()),
            _ => one.try_immediate(place).map_or(Value::Own, Value::Const),
        }
    }

    /// Changes the facts to those behind `one`.
    fn run(&mut self, one: &Instruction, info: &mut InstructionInfoFactory) {
        use Mnemonic::{
            Add, And, Call, Cmp, Dec, Imul, Inc, Lea, Mov, Movzx, Pop, Push, Pushfq, Ret, Shl, Shr, Sub, Xor,
        };
        let operand = |place| self.operand(one, place);
        let immediate = |place| one.try_immediate(place).ok();
        let size =
            if one.op0_kind() == OpKind::Register { one.op0_register().size() } else { one.memory_size().size() };
        let zero =
            one.mnemonic() == Xor && one.op0_kind() == OpKind::Register && one.op0_register() == one.op1_register();
        let compared =
            (one.mnemonic() == Cmp && one.op0_kind() == OpKind::Register).then(|| (one.op0_register(), operand(1)));
        let result = match one.mnemonic() {
            Mov | Movzx => operand(1),
            Lea => self.address(one),
            Xor if zero => Value::Const(0),
            Add => operand(0).plus(operand(1)),
            Inc => operand(0).plus(Value::Const(1)),
            Dec => operand(0).minus(Value::Const(1)),
            Sub => operand(0).minus(operand(1)),
            And => operand(0).and(operand(1).low(size)),
            Imul if let Some(by) = immediate(2) => operand(1).times(by),
            Shl if let Some(by) = immediate(1) => operand(0).times(1 << (by & 63)),
            Shr if let (Value::Named(max), Some(by)) = (operand(0), immediate(1)) => Value::Named(max >> (by & 63)),
            Call | Push | Pushfq | Pop | Ret => return self.stacked(one),
            _ if one.mnemonic() == Cmp => return self.compared = compared,
            _ if one.condition_code() != ConditionCode::None && one.op_count() == 2 => self.conditional(one),
            _ => return self.others(one, info),
        };
        if one.rflags_modified() != 0 {
            self.compared = None;
        }
        match one.op0_kind() {
            OpKind::Register => self.set(one.op0_register(), result),
            _ => self.store(self.address(one), result.low(size), size),
        }
    }

    /// Returns the result of a conditional move: one of two values, or a value that the comparison before it bounds.
    fn conditional(&self, one: &Instruction) -> Value {
        use ConditionCode::{a, ae};
        let (kept, other) = (self.operand(one, 0), self.operand(one, 1));
        match (self.compared, one.condition_code()) {
            (Some((register, bound)), a | ae) if register == one.op0_register() && other == Value::Const(0) => {
                kept.held_by(bound)
            }
            _ => kept.meet(other),
        }
    }

    fn stacked(&mut self, one: &Instruction) {
        let by = Value::Const(i64::from(one.stack_pointer_increment()) as u64);
        match one.mnemonic() {
            Mnemonic::Pop => {
                let value = self.load(self.get(Register::RSP), 8);
                self.set(Register::RSP, self.get(Register::RSP).plus(Value::Const(8)));
                return self.set(one.op0_register(), value);
            }
            Mnemonic::Ret => {}
            Mnemonic::Push if one.op0_kind() == OpKind::Register => {
                let (to, value) =
                    (self.get(Register::RSP).plus(Value::Const(8u64.wrapping_neg())), self.operand(one, 0));
                self.store(to, value, 8);
            }
            _ => self.store(self.get(Register::RSP).plus(Value::Const(8u64.wrapping_neg())), Value::Own, 8),
        }
        self.set(Register::RSP, self.get(Register::RSP).plus(by));
    }

    /// Any other instruction makes all that it writes unknown.
    fn others(&mut self, one: &Instruction, info: &mut InstructionInfoFactory) {
        let info = info.info(one);
        for used in info.used_memory().iter().filter(|used| writes(used.access())) {
            self.store(self.address(one), Value::Own, used.memory_size().size());
        }
        for used in info.used_registers().iter().filter(|used| writes(used.access())) {
            self.set(used.register(), Value::Own);
        }
        if one.rflags_modified() != 0 {
            self.compared = None;
        }
    }
}

const fn state(at: u64) -> Value {
    Value::State { first: at, last: at, named: false }
}
