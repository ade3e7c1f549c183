//! The three pages of the gate, as the monitor's image has them.

mod state;
pub mod walk;

use crate::binary::{Binary, Segment, Symbols};
use crate::rule::{Finding, Rule};
use crate::vmfunc::{self, VMFUNC};
use anyhow::{Context, Result};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Mnemonic};
use sluice_abi::map;
use sluice_gate::{CLOSE, ENTER, OPEN, RETURN, STUB_ABORT, STUB_ENTRY};
use walk::{Page, Walk, walk};

/// The value of each unused byte of a page.
const INT3: u8 = 0xcc;

/// The pages that lie at `SLOT_VA + GATE`, by view.
#[derive(Clone)]
pub struct Pages {
    /// Home.
    pub stub: Page,
    /// Gate view.
    pub gate: Page,
    /// Window view.
    pub window: Page,
}

impl Pages {
    /// Returns the pages that this program was linked with.
    pub fn here() -> Self {
        let pages = sluice_gate::pages();
        Self { stub: *pages.stub, gate: *pages.gate, window: *pages.window }
    }

    /// Returns the pages that `monitor` was linked with.
    pub(crate) fn of(monitor: &Binary) -> Result<Self> {
        let page = |name: &str| {
            let at = monitor.symbols.find(name).with_context(|| format!("no symbol {name}"))?;
            let bytes = monitor.segment(at).and_then(|segment| segment.from(at)?.first_chunk().copied());
            bytes.with_context(|| format!("{name} is cut short"))
        };
        Ok(Self {
            stub: page("sluice_stub_page")?,
            gate: page("sluice_gate_page")?,
            window: page("sluice_window_page")?,
        })
    }
}

/// All rules of the pages.
pub(crate) fn rules(pages: &Pages) -> Vec<Rule> {
    let walked = walk(&pages.gate, CLOSE);
    let (route, broken) = route(pages);
    vec![crossing(pages, &route, broken), every_offset(&walked), writes(&walked), straight(&walked), filler(pages)]
}

/// The part of a call in one view, up to the end of its VMFUNC.
struct Leg {
    view: &'static str,
    behind: u16,
}

/// A call through the views' pages: stub, gate, window, gate. What is missing or leads elsewhere is found.
fn route(pages: &Pages) -> (Vec<Leg>, Vec<Finding>) {
    let opens = behind_vmfunc(&pages.stub, STUB_ENTRY);
    let wanted = [
        ("stub", &pages.stub, Some(STUB_ENTRY), None),
        ("gate", &pages.gate, opens, Some(ENTER)),
        ("window", &pages.window, Some(ENTER), Some(CLOSE)),
        ("gate", &pages.gate, Some(CLOSE), None),
    ];
    let (mut legs, mut broken) = (Vec::new(), Vec::new());
    for (view, page, start, wanted) in wanted {
        match start.and_then(|start| behind_vmfunc(page, start)) {
            None => broken.push(Finding::in_page(view, start.unwrap_or(0).into(), "no VMFUNC follows")),
            Some(behind) => {
                if wanted.is_some_and(|wanted| wanted != behind) {
                    broken.push(Finding::in_page(
                        view,
                        behind.into(),
                        "the VMFUNC before does not lead to where the next view begins",
                    ));
                }
                legs.push(Leg { view, behind });
            }
        }
    }
    (legs, broken)
}

/// Where the first VMFUNC behind `start` ends, along jumps but not along conditional ones.
fn behind_vmfunc(page: &Page, start: u16) -> Option<u16> {
    let mut at = usize::from(start);
    // Each instruction is met once at most, or never again left.
    for _ in 0..page.len() {
        let instruction = Decoder::with_ip(64, page.get(at..)?, at as u64, DecoderOptions::NONE).decode();
        let next = match (instruction.mnemonic(), instruction.flow_control()) {
            (Mnemonic::Vmfunc, _) => return u16::try_from(instruction.next_ip()).ok(),
            (_, FlowControl::Next | FlowControl::ConditionalBranch) if !instruction.is_invalid() => {
                instruction.next_ip()
            }
            (Mnemonic::Call, FlowControl::Call) => instruction.next_ip(),
            (_, FlowControl::UnconditionalBranch) => instruction.near_branch_target(),
            _ => return None,
        };
        at = usize::try_from(next).ok()?;
    }
    None
}

/// Each VMFUNC ends where the next view goes on, and there is no other.
fn crossing(pages: &Pages, legs: &[Leg], mut broken: Vec<Finding>) -> Rule {
    let mut stray = 0;
    for (view, page) in [("stub", &pages.stub), ("gate", &pages.gate), ("window", &pages.window)] {
        let mine = legs.iter().filter(|leg| leg.view == view);
        let declared: Vec<_> = mine.map(|leg| u64::from(leg.behind) - VMFUNC.len() as u64).collect();
        let page = Segment { address: 0, len: map::PAGE, bytes: page.to_vec(), write: false, execute: true };
        let places = vmfunc::places([&page].into_iter(), &Symbols::default(), &declared);
        let others = places.iter().filter(|place| !place.declared);
        let before = broken.len();
        broken.extend(
            others.map(|place| Finding::in_page(view, place.address, "the bytes of a VMFUNC beside the call's way")),
        );
        stray += broken.len() - before;
    }
    let detail: Vec<_> = legs.iter().map(|leg| format!("{} to {:#x}", leg.view, leg.behind)).collect();
    Rule::new("VMFUNC", "G2", format!("{} declared, {stray} stray", legs.len()), broken).detail(detail.join(", "))
}

/// A path from any byte ends in the window behind the check, in home, or in an exit.
fn every_offset(walked: &Walk) -> Rule {
    let ends: Vec<_> = walked.ends.iter().map(|(end, count)| format!("{end} {count}")).collect();
    let figure = format!("{} offsets, {} paths", map::PAGE, walked.ends.values().sum::<u32>());
    Rule::new("every offset", "G2", figure, walked.findings.iter().cloned().collect()).detail(ends.join(", "))
}

/// The page has one store that arms the window, one that closes it, and no other.
fn writes(walked: &Walk) -> Rule {
    let stores: Vec<_> = walked.stores.iter().map(|(at, value)| format!("{value:#04x} at {at:#x}")).collect();
    let wrong =
        (stores.len() != 2).then(|| Finding::in_page("gate", 0, format!("{} stores to the list, not 2", stores.len())));
    Rule::new("list stores", "G3", format!("{} stores", stores.len()), wrong.into_iter().collect())
        .detail(stores.join(", "))
}

/// The page has one branch; [`walk`] finds one that does not lead forward.
fn straight(walked: &Walk) -> Rule {
    let branches: Vec<_> = walked.branches.iter().map(|at| format!("jne at {at:#x}")).collect();
    let second = walked.branches.iter().skip(1).map(|at| Finding::in_page("gate", (*at).into(), "a second branch"));
    let kinds = walked.mnemonics.iter().map(|mnemonic| format!("{mnemonic:?}").to_lowercase());
    let detail = format!("{}; from any byte: {}", branches.join(", "), kinds.collect::<Vec<_>>().join(" "));
    Rule::new("straight line", "G2", format!("{} branch", branches.len()), second.collect()).detail(detail)
}

/// Whatever is not on a call's way is INT3, in each page.
fn filler(pages: &Pages) -> Rule {
    let entered = [
        ("stub", &pages.stub, &[STUB_ENTRY, RETURN, STUB_ABORT][..]),
        ("gate", &pages.gate, &[OPEN, CLOSE]),
        ("window", &pages.window, &[ENTER]),
    ];
    let (mut findings, mut bytes) = (Vec::new(), Vec::new());
    for (view, page, starts) in entered {
        let mut code = vec![false; page.len()];
        starts.iter().for_each(|start| cover(page, (*start).into(), &mut code));
        let other = page.iter().zip(&code).zip(0..).filter(|((byte, code), _)| !**code && **byte != INT3);
        findings.extend(
            other.map(|((byte, _), at)| Finding::in_page(view, at, format!("{byte:#04x} beside the call's way"))),
        );
        bytes.push(format!("{view} {}", code.iter().filter(|code| **code).count()));
    }
    Rule::new("filler", "G1", format!("{} pages", entered.len()), findings)
        .detail(format!("bytes of code: {}", bytes.join(", ")))
}

/// Marks the instructions from `at` to where they leave the page, along both sides of a branch.
fn cover(page: &Page, mut at: usize, code: &mut [bool]) {
    while let Some(rest) = page.get(at..).filter(|_| !code.get(at).is_none_or(|seen| *seen)) {
        let instruction = Decoder::with_ip(64, rest, at as u64, DecoderOptions::NONE).decode();
        if instruction.is_invalid() || instruction.mnemonic() == Mnemonic::Int3 {
            return;
        }
        let behind = at + instruction.len();
        code[at..behind].fill(true);
        match instruction.flow_control() {
            // The instruction behind a VMFUNC lies in another view.
            _ if matches!(instruction.mnemonic(), Mnemonic::Vmfunc | Mnemonic::Vmcall) => return,
            FlowControl::Next | FlowControl::Call => {}
            FlowControl::ConditionalBranch => cover(page, instruction.near_branch_target() as usize, code),
            FlowControl::UnconditionalBranch => return cover(page, instruction.near_branch_target() as usize, code),
            _ => return,
        }
        at = behind;
    }
}
