//! The three pages, byte by byte (rule G2): what the assembler made of gate.S, whatever the assembler.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use sluice_abi::map;
use sluice_audit::{End, Page, VMFUNC, walk};
use sluice_gate::{CLOSE, ENTER, OPEN, RETURN, STUB_ABORT, STUB_ENTRY, pages};
use std::collections::{BTreeMap, BTreeSet};

/// The instruction at `offset`.
fn decode(page: &Page, offset: u16) -> Instruction {
    Decoder::with_ip(64, &page[usize::from(offset)..], u64::from(offset), DecoderOptions::NONE).decode()
}

/// Instructions from `offset` on, as they follow one another, to the VMFUNC.
fn straight(page: &Page, offset: u16) -> Vec<Instruction> {
    let mut all = vec![decode(page, offset)];
    while let Some(last) = all.last().filter(|last| last.mnemonic() != Mnemonic::Vmfunc && !last.is_invalid()) {
        all.push(decode(page, last.next_ip() as u16));
    }
    all
}

/// Places right behind a VMFUNC's bytes, aligned with anything or not.
fn behind_vmfunc(page: &Page) -> Vec<u16> {
    (3..).zip(page.windows(3)).filter(|(_, bytes)| **bytes == VMFUNC).map(|(at, _)| at).collect()
}

#[test]
fn every_offset_of_the_gate_page_is_harmless() {
    let walk = walk(pages().gate, CLOSE);
    assert_eq!(walk.findings, BTreeSet::new());
    // What hides between the lines, so that a change is looked at.
    for wanted in [Mnemonic::Mov, Mnemonic::Cmp, Mnemonic::Jne, Mnemonic::Vmfunc, Mnemonic::Vmcall, Mnemonic::Int3] {
        assert!(walk.mnemonics.contains(&wanted), "{wanted:?} is not there");
    }
}

#[test]
fn only_who_arms_the_window_and_passes_the_check_enters_it() {
    let ends = walk(pages().gate, CLOSE).ends;
    assert_eq!(ends.get(&End::Window), Some(&1), "{ends:?}");
    assert!(ends.values().sum::<u32>() > 4096, "{ends:?}");
}

#[test]
fn the_gate_page_writes_the_list_twice_and_nothing_else() {
    assert_eq!(walk(pages().gate, CLOSE).stores, BTreeMap::from([(OPEN, 0x1e), (CLOSE, 0x06)]));
}

#[test]
fn opening_arms_then_checks_then_enters() {
    use Mnemonic::{Cld, Cli, Cmp, Jne, Lfence, Mov, Shr, Vmfunc, Xor};
    let open = straight(pages().gate, OPEN);
    let mnemonics: Vec<_> = open.iter().map(Instruction::mnemonic).collect();
    assert_eq!(mnemonics, [Mov, Mov, Shr, Cmp, Jne, Xor, Mov, Xor, Cld, Cli, Lfence, Vmfunc]);
    assert_eq!(open[3].ip_rel_memory_address(), map::CONSTANT + map::CONSTANT_WORD);
    assert_eq!(decode(pages().gate, open[4].near_branch_target() as u16).mnemonic(), Mnemonic::Vmcall);
    let close = straight(pages().gate, CLOSE);
    let mnemonics: Vec<_> = close.iter().map(Instruction::mnemonic).collect();
    assert_eq!(mnemonics, [Mov, Xor, Xor, Cld, Vmfunc]);
}

#[test]
fn each_vmfunc_ends_where_the_next_view_goes_on() {
    let pages = pages();
    assert_eq!(behind_vmfunc(pages.stub), [OPEN]);
    assert_eq!(behind_vmfunc(pages.gate), [ENTER, RETURN]);
    assert_eq!(behind_vmfunc(pages.window), [CLOSE]);
}

#[test]
fn the_window_page_has_its_own_stack_before_it_calls() {
    use Mnemonic::{Call, Jne, Lea, Mov, Pushfq, Test};
    let enter: Vec<_> = straight(pages().window, ENTER).into_iter().take(8).collect();
    let mnemonics: Vec<_> = enter.iter().map(Instruction::mnemonic).collect();
    assert_eq!(mnemonics, [Mov, Mov, Lea, Pushfq, Test, Jne, Lea, Call]);
    assert_eq!(enter[2].ip_rel_memory_address(), map::STACK + map::STACK_LEN);
    assert_eq!(enter[6].ip_rel_memory_address(), map::STATE);
    assert_eq!(enter[7].near_branch_target(), map::CODE);
}

#[test]
fn the_stub_is_where_its_callers_look_for_it() {
    assert_eq!(straight(pages().stub, STUB_ENTRY).last().map(Instruction::next_ip), Some(u64::from(OPEN)));
    let abort = decode(pages().stub, STUB_ABORT);
    assert_eq!(
        (abort.mnemonic(), decode(pages().stub, abort.near_branch_target() as u16).mnemonic()),
        (Mnemonic::Jmp, Mnemonic::Popfq)
    );
}

/// Each edit is one that was made, or nearly made, in gates of this kind.
#[test]
fn the_audit_finds_what_it_looks_for() {
    let find = |bytes: &[u8]| pages().gate.windows(bytes.len()).position(|window| window == bytes).expect("there");
    let shift = find(&[0x48, 0xc1, 0xea, 0x0c]);
    let fence = find(&[0x0f, 0xae, 0xea]);
    let select = find(&[0x31, 0xc9, 0xb1, 0x02]);
    let check = find(&[0x75, 0x16]);
    let (stranger, armed) = ("is not among", "with the window armed");
    let edits: [(&str, usize, &[u8], &str); 15] = [
        ("the usual LFENCE hides a CALL", fence + 2, &[0xe8], stranger),
        ("SHR RAX hides a CALL", shift + 2, &[0xe8], stranger),
        ("MOV ECX, 2 has zeros", select, &[0xb9, 2, 0, 0, 0], "writes"),
        ("zeros as filler", 0x800, &[0, 0], "writes"),
        ("a return", 0x900, &[0xc3], stranger),
        ("an indirect jump", 0x900, &[0xff, 0xe0], stranger),
        ("a store elsewhere", 0x900, &[0xc6, 0x05, 0, 0, 0, 0, 1], "writes"),
        ("a push", 0x900, &[0x50], stranger),
        ("no branch behind the check", check, &[0x31, 0xc0], armed),
        ("PCID compared with the page", shift + 3, &[0x0b], armed),
        ("a check of another register", shift - 3, &[0x0f, 0x20, 0xd2], armed),
        ("a loop", check + 1, &[0xfe], "does not lead forward"),
        ("a second branch", 0x900, &[0x75, 0x02], "second branch"),
        ("an armed way home", usize::from(CLOSE) + 6, &[0x1e], armed),
        ("a slot neither valid nor at rest", usize::from(CLOSE) + 6, &[0x16], "neither arms nor closes"),
    ];
    for (name, at, bytes, what) in edits {
        let mut page = *pages().gate;
        page[at..at + bytes.len()].copy_from_slice(bytes);
        let findings = walk(&page, CLOSE).findings;
        assert!(findings.iter().any(|finding| finding.what.contains(what)), "{name} was not found: {findings:?}");
    }
}
