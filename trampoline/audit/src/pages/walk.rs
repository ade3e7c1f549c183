//! Every path of the gate page, entered at any byte and with any registers (rule G2).
//!
//! [`walk`] runs the page's bytes without a processor: from each offset, along both sides of a branch, to where the
//! path ends. Of the machine, `State` holds only what decides about the window: whether its slot is armed, and whether
//! CR3 was compared since.
//!
//! A list of the page's bytes, compared one by one, was rejected: it would say that nothing changed, not that the page
//! is safe.

use super::state::{self, State};
use crate::access::{reads, writes};
use crate::rule::Finding;
use iced_x86::{Code, Decoder, DecoderError, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, Register};
use sluice_abi::map;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A page of machine code.
pub type Page = [u8; map::PAGE as usize];

/// What the page may consist of besides, read from any byte. They change registers and flags, as whoever entered could
/// have done before, and read memory, as he could not: the list lies in this view, and says where the host's tables
/// are. So a path on which something was read from anywhere but the constant ends in an exit, where all registers are
/// cleared, x87's too.
const HARMLESS: &[Mnemonic] = {
    use Mnemonic::*;
    &[Adc, Add, And, Cld, Cli, Cmp, Fimul, Leave, Lfence, Mov, Or, Ror, Sar, Scasb, Shr, Xor]
};

/// The end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// VMFUNC to the window, armed and with CR3 compared: the way in.
    Window,
    /// VMFUNC to the window at rest, which exits.
    AtRest,
    /// VMFUNC to home, the window at rest.
    Home,
    /// VMFUNC to where whoever entered wants, the window at rest: home, or an exit. That it stays in the gate view is a
    /// path of its own.
    Anywhere,
    /// VMCALL: an exit.
    Vmcall,
    /// INT3, which can't be vectored here: an exit.
    Int3,
    /// No instruction: an exit.
    Undefined,
    /// A fetch from the page behind, which is not mapped: an exit.
    Outside,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Window => "armed, checked and into the window",
            Self::AtRest => "into the window at rest: exit",
            Self::Home => "home",
            Self::Anywhere => "home or exit",
            Self::Vmcall => "VMCALL",
            Self::Int3 => "INT3",
            Self::Undefined => "no instruction: exit",
            Self::Outside => "off the page: exit",
        })
    }
}

/// The result of a walk through a page.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// The number of paths, by their ends.
    pub ends: BTreeMap<End, u32>,
    /// Stores to the window's slot of the list: the byte that each writes, by offset in the page.
    pub stores: BTreeMap<u16, u8>,
    /// Offsets of conditional branches.
    pub branches: BTreeSet<u16>,
    /// Mnemonics of all instructions on any path.
    pub mnemonics: BTreeSet<Mnemonic>,
    /// Breaches of the rules; a harmless page has none.
    pub findings: BTreeSet<Finding>,
}

/// The next step of a path.
enum Step {
    Behind,
    Either(u16),
    Ends(End),
    /// At VMFUNC with a view that the caller chose, the path both ends and goes on.
    Both(End),
    Wrong(&'static str),
}

/// Follows every path from each of the page's offsets, the window at rest; and from `close`, where the window leads
/// back to, armed.
pub fn walk(page: &Page, close: u16) -> Walk {
    let mut walker = Walker { page, info: InstructionInfoFactory::new(), walk: Walk::default() };
    for offset in 0..page.len() as u16 {
        walker.follow(offset, State::default());
    }
    walker.follow(close, State::armed());
    walker.walk
}

struct Walker<'p> {
    page: &'p Page,
    info: InstructionInfoFactory,
    walk: Walk,
}

impl Walker<'_> {
    /// Each step leads forward, so each path ends.
    fn follow(&mut self, mut offset: u16, mut state: State) {
        loop {
            let (instruction, error) = decode(self.page, offset);
            match self.step(&instruction, error, &mut state) {
                Step::Behind => {}
                Step::Both(end) => self.end(end),
                Step::Either(target) => {
                    self.follow(target, state);
                    state.compared_equal();
                }
                Step::Ends(end) => return self.end(end),
                Step::Wrong(what) => {
                    self.walk.findings.insert(Finding::in_page(
                        "gate",
                        offset.into(),
                        format!("`{instruction}` {what}"),
                    ));
                    return;
                }
            }
            offset += instruction.len() as u16;
        }
    }

    fn end(&mut self, end: End) {
        *self.walk.ends.entry(end).or_default() += 1;
    }

    fn step(&mut self, instruction: &Instruction, error: DecoderError, state: &mut State) -> Step {
        if instruction.is_invalid() {
            return Step::Ends(if error == DecoderError::NoMoreBytes { End::Outside } else { End::Undefined });
        }
        self.walk.mnemonics.insert(instruction.mnemonic());
        match instruction.mnemonic() {
            Mnemonic::Int3 => Step::Ends(End::Int3),
            Mnemonic::Vmcall => Step::Ends(End::Vmcall),
            Mnemonic::Vmfunc => vmfunc(state),
            Mnemonic::Jne if !state.keeps_secrets() => Step::Wrong("decides by what was read from anywhere"),
            Mnemonic::Jne => self.branch(instruction),
            mnemonic if !HARMLESS.contains(&mnemonic) => Step::Wrong("is not among a gate's instructions"),
            _ if !is_general(instruction) => Step::Wrong("reads or sets a register of the processor's"),
            _ => self.straight(instruction, state),
        }
    }

    fn branch(&mut self, instruction: &Instruction) -> Step {
        let (at, target) = (offset(instruction.ip()), instruction.near_branch_target().wrapping_sub(map::GATE));
        self.walk.branches.insert(at);
        if self.walk.branches.len() > 1 {
            return Step::Wrong("is a second branch");
        }
        let behind = instruction.next_ip() - map::GATE..self.page.len() as u64;
        if behind.contains(&target) {
            Step::Either(target as u16)
        } else {
            Step::Wrong("does not lead forward within the page")
        }
    }

    /// An instruction with nothing behind it but the next one.
    fn straight(&mut self, instruction: &Instruction, state: &mut State) -> Step {
        let memory = self.info.info(instruction).used_memory();
        if memory.iter().any(|memory| writes(memory.access())) {
            let Some(value) = state::list_store(instruction) else { return Step::Wrong("writes") };
            self.walk.stores.insert(offset(instruction.ip()), value);
            return if state.store(value) { Step::Behind } else { Step::Wrong("neither arms nor closes the window") };
        }
        let strays = memory.iter().any(|memory| reads(memory.access())) && !state::reads_constant(instruction);
        state.run(instruction, &mut self.info);
        if strays {
            state.read_anything();
        }
        Step::Behind
    }
}

/// Whether its operands are memory and general registers, or it reads CR3. MOV has forms that load a segment, by a read
/// of the descriptor table, and forms that set a control or debug register.
fn is_general(instruction: &Instruction) -> bool {
    let system =
        |register: Register| register.is_segment_register() || register.is_cr() || register.is_dr() || register.is_tr();
    let reads_cr3 = instruction.code() == Code::Mov_r64_cr && instruction.op1_register() == Register::CR3;
    reads_cr3 || !(0..instruction.op_count()).any(|place| system(instruction.op_register(place)))
}

fn vmfunc(state: &mut State) -> Step {
    match state.index() {
        Some(2) if state.may_enter() && state.keeps_secrets() => Step::Ends(End::Window),
        _ if state.is_armed() => Step::Wrong("leaves the gate with the window armed"),
        Some(1) => Step::Behind,
        Some(0) | None if !state.keeps_secrets() => Step::Wrong("takes along what was read from anywhere"),
        Some(0) => Step::Ends(End::Home),
        Some(_) => Step::Ends(End::AtRest),
        None => {
            state.stay();
            Step::Both(End::Anywhere)
        }
    }
}

/// An instruction's offset in the page.
fn offset(ip: u64) -> u16 {
    (ip - map::GATE) as u16
}

fn decode(page: &Page, offset: u16) -> (Instruction, DecoderError) {
    let ip = map::GATE + u64::from(offset);
    let mut decoder =
        Decoder::with_ip(64, page.get(usize::from(offset)..).unwrap_or_default(), ip, DecoderOptions::NONE);
    (decoder.decode(), decoder.last_error())
}
