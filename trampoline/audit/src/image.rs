//! Rules of what an image maps, and of its symbols.

use crate::binary::Binary;
use crate::rule::{Finding, Rule};
use sluice_abi::map;

/// Parts of names that only functions on the way to a panic have.
const PANIC: [&str; 5] = ["panic", "unwrap_failed", "expect_failed", "index_fail", "rust_begin_unwind"];

fn finding(binary: &Binary, address: u64, what: String) -> Finding {
    Finding { address, symbol: binary.symbols.describe(address), what }
}

/// Nothing is mapped both writable and executable.
pub fn write_or_execute(binary: &Binary) -> Rule {
    let both = binary.segments.iter().filter(|segment| segment.write && segment.execute);
    let findings =
        both.map(|segment| finding(binary, segment.address, "a segment both writable and executable".into()));
    let figure = format!("{} segments", binary.segments.len());
    Rule::new("write or execute", "G1", figure, findings.collect())
}

/// The window has no data: nothing writable, nothing that a loader would have to change.
pub fn no_data(binary: &Binary) -> Rule {
    let writable = binary.segments.iter().filter(|segment| segment.write);
    let writable = writable.map(|segment| finding(binary, segment.address, format!("{} writable bytes", segment.len)));
    let relocating = binary.sections.iter().filter(|section| section.relocates);
    let relocating = relocating.map(|section| finding(binary, 0, format!("section {} relocates", section.name)));
    let findings: Vec<_> = writable.chain(relocating).collect();
    Rule::new("no data", "G7", format!("{} writable segments", findings.len()), findings)
}

/// The image lies where the window page calls it, and within its room.
pub fn place(binary: &Binary) -> Rule {
    let start = map::SLOT_VA + map::CODE;
    let room = start..start + map::CODE_LEN;
    let outside = |address: u64, len: u64| address < room.start || len > room.end.saturating_sub(address);
    let outside = binary.segments.iter().filter(|segment| outside(segment.address, segment.len));
    let mut findings: Vec<_> =
        outside.map(|segment| finding(binary, segment.address, "a segment outside the window's code".into())).collect();
    if binary.entry != start {
        findings.push(finding(binary, binary.entry, format!("the entry point is not the first byte, {start:#x}")));
    }
    let bytes = |execute| binary.segments.iter().filter(|one| one.execute == execute).map(|one| one.len).sum::<u64>();
    let (code, constants) = (bytes(true), bytes(false));
    let figure = format!("{} of {} bytes", code + constants, map::CODE_LEN);
    Rule::new("size and place", "G1", figure, findings).detail(format!("code {code}, constants {constants}"))
}

/// No function on the way to a panic is linked, and no name is missing.
pub fn panics(binary: &Binary) -> Rule {
    let named = binary.symbols.iter().filter(|(_, name)| PANIC.iter().any(|part| name.contains(part)));
    let named = named.map(|(address, _)| finding(binary, address, "is on the way to a panic".into()));
    let undefined = binary.undefined.iter().map(|name| finding(binary, 0, format!("{name} is not defined")));
    Rule::new("no panic", "G12", format!("{} symbols", binary.symbols.iter().count()), named.chain(undefined).collect())
}
