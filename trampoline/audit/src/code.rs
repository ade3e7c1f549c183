//! Machine code that is reached from its entry points, along every direct branch and call.

use crate::binary::{Segment, Symbols};
use crate::rule::Finding;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};
use std::collections::{BTreeMap, BTreeSet};

/// Executable bytes, and the names of their addresses.
pub struct Space<'b> {
    /// The executable segments.
    pub parts: Vec<&'b Segment>,
    /// The names of addresses.
    pub symbols: &'b Symbols,
}

/// Everything that can be executed, if nothing branches indirectly.
pub struct Code<'b> {
    space: Space<'b>,
    /// The instructions, by address.
    pub instructions: BTreeMap<u64, Instruction>,
    /// The functions, by the address of the first instruction.
    pub functions: BTreeMap<u64, Function>,
    /// Branches to addresses without code, and instructions that overlap.
    pub astray: Vec<Finding>,
}

/// The instructions that are reached from one entry point without a call.
#[derive(Default)]
pub struct Function {
    /// The addresses of the function's instructions.
    pub instructions: BTreeSet<u64>,
    /// The calls: from the address of each to the address that it calls.
    pub calls: BTreeMap<u64, u64>,
    /// The jumps to the start of another function, which returns in place of this one.
    pub tails: BTreeMap<u64, u64>,
}

impl Space<'_> {
    fn decode(&self, address: u64) -> Option<Instruction> {
        let bytes = self.parts.iter().find_map(|part| part.from(address))?;
        let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        (!instruction.is_invalid()).then_some(instruction)
    }

    /// Returns a finding about `instruction`.
    pub fn finding(&self, instruction: &Instruction, what: &str) -> Finding {
        let address = instruction.ip();
        Finding { address, symbol: self.symbols.describe(address), what: format!("`{instruction}` {what}") }
    }
}

impl<'b> Code<'b> {
    /// Follows the code from `entries`, and from every function that has a name, reached or not.
    pub fn reach(space: Space<'b>, entries: &[u64]) -> Self {
        let named = space.symbols.functions().iter().copied().filter(|at| space.decode(*at).is_some());
        let mut open: BTreeSet<u64> = named.chain(entries.iter().copied()).collect();
        let starts = open.clone();
        let mut code = Self { space, instructions: BTreeMap::new(), functions: BTreeMap::new(), astray: Vec::new() };
        while let Some(start) = open.pop_first() {
            let function = code.follow(start, &starts);
            open.extend(
                function.calls.values().filter(|target| !code.functions.contains_key(target) && **target != start),
            );
            code.functions.insert(start, function);
        }
        code.overlaps();
        code
    }

    fn follow(&mut self, start: u64, starts: &BTreeSet<u64>) -> Function {
        let mut function = Function::default();
        let mut open = vec![(start, start)];
        while let Some((address, from)) = open.pop() {
            if function.instructions.contains(&address) {
                continue;
            }
            let Some(instruction) = self.space.decode(address) else {
                let what = format!("leads to {address:#x}, where no code is");
                let from = self.instructions.get(&from).copied().unwrap_or_default();
                self.astray.push(self.space.finding(&from, &what));
                continue;
            };
            self.instructions.insert(address, instruction);
            function.instructions.insert(address);
            if let Some(target) = call(&instruction).filter(|target| self.leads_to_code(&instruction, *target)) {
                function.calls.insert(address, target);
            }
            for next in successors(&instruction) {
                if next != instruction.next_ip() && next != start && starts.contains(&next) {
                    function.tails.insert(address, next);
                } else {
                    open.push((next, address));
                }
            }
        }
        function
    }

    fn leads_to_code(&mut self, instruction: &Instruction, target: u64) -> bool {
        let code = self.space.decode(target).is_some();
        if !code {
            self.astray.push(self.space.finding(instruction, "leads to where no code is"));
        }
        code
    }

    fn overlaps(&mut self) {
        let all: Vec<_> = self.instructions.values().collect();
        let pairs = all.windows(2).filter(|pair| pair[1].ip() < pair[0].next_ip());
        let found: Vec<_> = pairs.map(|pair| self.space.finding(pair[1], "lies within another instruction")).collect();
        self.astray.extend(found);
    }

    /// Returns a finding about `instruction`.
    pub fn finding(&self, instruction: &Instruction, what: &str) -> Finding {
        self.space.finding(instruction, what)
    }

    /// Returns the name of the function at `start`.
    pub fn name(&self, start: u64) -> String {
        self.space.symbols.describe(start)
    }

    /// Returns a finding for each instruction of which `judge` says what is wrong.
    pub fn wrong(&self, mut judge: impl FnMut(&Instruction) -> Option<&'static str>) -> Vec<Finding> {
        let judged = self.instructions.values().filter_map(|one| Some((one, judge(one)?)));
        judged.map(|(one, what)| self.finding(one, what)).collect()
    }

    /// Returns the number of instructions that are `kind`.
    pub fn count(&self, kind: impl Fn(&Instruction) -> bool) -> usize {
        self.instructions.values().filter(|one| kind(one)).count()
    }
}

/// Returns the target of a direct call.
fn call(instruction: &Instruction) -> Option<u64> {
    let direct = instruction.mnemonic() == Mnemonic::Call && instruction.op0_kind() == OpKind::NearBranch64;
    direct.then(|| instruction.near_branch_target())
}

/// Returns the addresses at which execution goes on in the same function.
pub fn successors(instruction: &Instruction) -> Vec<u64> {
    let (next, target) = (instruction.next_ip(), instruction.near_branch_target());
    if instruction.mnemonic() == Mnemonic::Vmfunc {
        // The next instruction lies in another view.
        return vec![];
    }
    match instruction.flow_control() {
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall | FlowControl::XbeginXabortXend => vec![next],
        FlowControl::UnconditionalBranch => vec![target],
        FlowControl::ConditionalBranch => vec![next, target],
        FlowControl::IndirectBranch | FlowControl::Return | FlowControl::Interrupt | FlowControl::Exception => vec![],
    }
}
