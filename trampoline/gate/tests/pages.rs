//! The three pages, byte by byte (rule G2): what the assembler made of gate.S, whatever the assembler.

use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use sluice_abi::map;
use sluice_audit::{End, Page, VMFUNC, walk};
use sluice_gate::{CLOSE, ENTER, OPEN, RETURN, STACK_SAVED, STUB_ABORT, STUB_ENTRY, STUB_OUTSIDE, pages};
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
    assert_eq!((open[1].op1_register(), open[2].immediate8()), (Register::CR3, 12));
    assert_eq!(open[3].ip_rel_memory_address(), map::CONSTANT + map::CONSTANT_WORD);
    assert_eq!(decode(pages().gate, open[4].near_branch_target() as u16).mnemonic(), Mnemonic::Vmcall);
    let close = straight(pages().gate, CLOSE);
    let mnemonics: Vec<_> = close.iter().map(Instruction::mnemonic).collect();
    assert_eq!(mnemonics, [Mov, Xor, Xor, Cld, Vmfunc]);
}

#[test]
fn so_many_instructions_of_a_call_are_executed_while_the_window_is_closed() {
    let pages = pages();
    let mut returning = vec![decode(pages.stub, RETURN)];
    while let Some(last) = returning.last().filter(|last| last.mnemonic() != Mnemonic::Ret) {
        returning.push(decode(pages.stub, last.next_ip() as u16));
    }
    let disarming = 1;
    let closing = straight(pages.gate, CLOSE).len() - disarming + returning.len();
    assert_eq!(straight(pages.stub, STUB_ENTRY).len() + closing, STUB_OUTSIDE as usize);
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
    assert_eq!((enter[1].op1_register(), enter[1].ip_rel_memory_address()), (Register::RSP, map::STATE + 32));
    assert_eq!(enter[1].next_ip(), u64::from(STACK_SAVED));
    assert_eq!(enter[2].ip_rel_memory_address(), map::STACK + map::STACK_LEN);
    assert_eq!(enter[6].ip_rel_memory_address(), map::STATE);
    assert_eq!(enter[7].near_branch_target(), map::CODE);
    // TF, NT, AC (SDM volume 1, "EFLAGS Register"), as they were pushed.
    assert_eq!((enter[4].memory_base(), enter[4].immediate32()), (Register::RSP, 1 << 8 | 1 << 14 | 1 << 18));
}

/// Leaf and view as the VMFUNC at the end of `path` finds them in EAX and ECX, where instructions on the path set them.
fn selected(path: &[Instruction]) -> (Option<u64>, Option<u64>) {
    let (mut leaf, mut view) = (None, None);
    for it in path.iter().filter(|it| it.op0_kind() == OpKind::Register) {
        let target = match it.op0_register() {
            Register::EAX => &mut leaf,
            Register::ECX | Register::CL => &mut view,
            _ => continue,
        };
        *target = match it.mnemonic() {
            Mnemonic::Xor if it.op0_register() == it.op1_register() => Some(0),
            Mnemonic::Mov if it.op0_register() == Register::ECX => it.try_immediate(1).ok(),
            // The rest of ECX was cleared before.
            Mnemonic::Mov if *target == Some(0) => it.try_immediate(1).ok(),
            _ => None,
        };
    }
    (leaf, view)
}

#[test]
fn each_vmfunc_names_the_view_that_comes_next() {
    let pages = pages();
    assert_eq!(selected(&straight(pages.stub, STUB_ENTRY)), (Some(0), Some(1)));
    assert_eq!(selected(&straight(pages.gate, OPEN)), (Some(0), Some(2)));
    assert_eq!(selected(&leaving(ENTER).concat()), (Some(0), Some(1)));
    assert_eq!(selected(&straight(pages.gate, CLOSE)), (Some(0), Some(0)));
}

/// The window page from `offset` on, jumps followed, in two parts: to the call of the window's code, and from there to
/// the VMFUNC.
fn leaving(offset: u16) -> [Vec<Instruction>; 2] {
    let mut parts = [Vec::new(), Vec::new()];
    let (mut at, mut part) = (offset, 0);
    loop {
        let it = decode(pages().window, at);
        parts[part].push(it);
        part |= usize::from(it.mnemonic() == Mnemonic::Call);
        match it.mnemonic() {
            Mnemonic::Vmfunc => return parts,
            Mnemonic::Jmp => at = it.near_branch_target() as u16,
            _ => at = it.next_ip() as u16,
        }
        assert!(parts[part].len() < 64 && !it.is_invalid());
    }
}

/// The registers of which `path` writes all 64 bits.
fn written(path: &[Instruction]) -> BTreeSet<Register> {
    let mut info = InstructionInfoFactory::new();
    let mut all = BTreeSet::new();
    for it in path {
        let written = |it: &&iced_x86::UsedRegister| it.access() == OpAccess::Write && it.register().size() >= 4;
        all.extend(info.info(it).used_registers().iter().filter(written).map(|it| it.register().full_register()));
    }
    all
}

/// What the call leaves as it was is the caller's own (RBX, RBP, R12 to R15). All other registers, RSP too, are written
/// on the way out (A15).
#[test]
fn the_window_page_leaves_no_register_as_its_code_left_it() {
    use Register::{R8, R9, R10, R11, RAX, RCX, RDI, RDX, RSI, RSP};
    let [enter, leave] = leaving(ENTER);
    assert_eq!(enter.last().map(Instruction::mnemonic), Some(Mnemonic::Call));
    let wanted = BTreeSet::from([RAX, RCX, RDX, RSI, RDI, RSP, R8, R9, R10, R11]);
    assert_eq!(written(&leave), wanted);
    let refuse = enter.iter().find(|it| it.mnemonic() == Mnemonic::Jne).expect("there").near_branch_target();
    let [refused, _] = leaving(refuse as u16);
    assert_eq!(written(&refused), wanted);
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

/// The bytes of `page` that belong to instructions from `starts` on, branches followed.
fn covered(page: &Page, starts: &[u16]) -> BTreeSet<u16> {
    let (mut todo, mut bytes) = (starts.to_vec(), BTreeSet::new());
    while let Some(at) = todo.pop().filter(|at| *at < 4096) {
        let it = decode(page, at);
        assert!(!it.is_invalid() && it.mnemonic() != Mnemonic::Int3, "{at:#x}");
        if bytes.contains(&at) {
            continue;
        }
        bytes.extend(at..it.next_ip() as u16);
        let target = it.near_branch_target() as u16;
        match it.mnemonic() {
            Mnemonic::Jmp => todo.push(target),
            Mnemonic::Jne => todo.extend([target, it.next_ip() as u16]),
            // Behind it another view goes on, the monitor, or the caller.
            Mnemonic::Vmfunc | Mnemonic::Vmcall | Mnemonic::Ret => {}
            _ => todo.push(it.next_ip() as u16),
        }
    }
    bytes
}

/// Who lands beside the way of a call is stopped there, in whatever view: none of the three pages has another filler
/// than INT3.
#[test]
fn what_is_beside_the_way_of_a_call_is_int3_in_all_three_pages() {
    const INT3: u8 = 0xcc;
    let pages = pages();
    let all: [(&str, &Page, &[u16]); 3] = [
        ("stub", pages.stub, &[STUB_ENTRY, RETURN, STUB_ABORT]),
        ("gate", pages.gate, &[OPEN, CLOSE]),
        ("window", pages.window, &[ENTER]),
    ];
    for (name, page, starts) in all {
        let way = covered(page, starts);
        assert!((30..200).contains(&way.len()), "{name}: {} bytes", way.len());
        let other = (0..4096).find(|at| !way.contains(at) && page[usize::from(*at)] != INT3);
        assert_eq!(other, None, "{name}");
    }
}

/// Each edit is one that was made, or nearly made, in gates of this kind.
#[test]
fn the_audit_finds_what_it_looks_for() {
    let find = |bytes: &[u8]| pages().gate.windows(bytes.len()).position(|window| window == bytes).expect("there");
    let shift = find(&[0x48, 0xc1, 0xea, 0x0c]);
    let fence = find(&[0x0f, 0xae, 0xea]);
    let select = find(&[0x31, 0xc9, 0xb1, 0x02]);
    let check = find(&[0x75, 0x16]);
    let (stranger, armed, own) = ("is not among", "with the window armed", "a register of the processor's");
    let edits: [(&str, usize, &[u8], &str); 19] = [
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
        ("a check of another register", shift - 3, &[0x0f, 0x20, 0xd9], armed),
        ("a check of another control register", shift - 3, &[0x0f, 0x20, 0xd2], own),
        ("a control register that is set", 0x900, &[0x0f, 0x22, 0xd8], own),
        ("a debug register that is set", 0x900, &[0x0f, 0x23, 0xf8], own),
        ("a segment that is loaded, by a read of the GDT", 0x900, &[0x8e, 0xe0], own),
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

/// What `code` does at 0x900, among INT3.
fn findings_of(code: &[u8]) -> String {
    let mut page = *pages().gate;
    page[0x900..][..code.len()].copy_from_slice(code);
    format!("{:?}", walk(&page, CLOSE).findings)
}

/// `before`, then the 32-bit displacement that leads to slot offset `to` from behind it and `behind`, then `behind`;
/// all at 0x900.
fn relative(before: &[u8], to: u64, behind: &[u8], immediate: usize) -> Vec<u8> {
    let next = 0x900 + before.len() + 4 + immediate;
    [before, &(to as i32 - next as i32).to_le_bytes(), behind].concat()
}

/// The gate view maps the list, which tells where the host's tables are: what was read of it does not get home, by
/// whatever it was read.
#[test]
fn the_audit_finds_what_is_read_from_anywhere_and_taken_along() {
    let home = [0x31, 0xc9, 0x0f, 0x01, 0xd4]; // xor ecx, ecx; vmfunc
    let along = "takes along";
    let reads: [(&str, &[u8], &str); 24] = [
        ("mov eax, [rax]", &[0x8b, 0x00], along),
        ("add al, [rdi]", &[0x02, 0x07], along),
        ("cmp [rsi], al: the flags", &[0x38, 0x06], along),
        ("xor rax, gs:[rax]", &[0x65, 0x48, 0x33, 0x00], along),
        ("scasb", &[0xae], along),
        ("repne scasb", &[0xf2, 0xae], along),
        ("leave: pops by RBP", &[0xc9], along),
        ("fimul word [rax]: x87", &[0xde, 0x08], along),
        ("fimul dword [rax]", &[0xda, 0x08], along),
        ("mov al, [moffs]", &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0], along),
        ("mov eax, [disp32]", &[0x8b, 0x04, 0x25, 0, 0, 0, 0], along),
        ("pop rax", &[0x58], "is not among"),
        ("xlatb", &[0xd7], "is not among"),
        ("lodsb", &[0xac], "is not among"),
        ("movsb", &[0xa4], "is not among"),
        ("cmpxchg [rax], cl", &[0x0f, 0xb0, 0x08], "is not among"),
        ("bt [rax], rcx", &[0x48, 0x0f, 0xa3, 0x08], "is not among"),
        ("lss eax, [rax]", &[0x0f, 0xb2, 0x00], "is not among"),
        ("call far [rax]", &[0xff, 0x18], "is not among"),
        ("fld dword [rax]", &[0xd9, 0x00], "is not among"),
        ("movups xmm0, [rax]", &[0x0f, 0x10, 0x00], "is not among"),
        ("prefetcht0 [rax]", &[0x0f, 0x18, 0x08], "is not among"),
        ("vmread [rax], rax", &[0x0f, 0x78, 0x00], "is not among"),
        ("invept rax, [rax]", &[0x66, 0x0f, 0x38, 0x80, 0x00], "is not among"),
    ];
    for (name, code, what) in reads {
        let findings = findings_of(&[code, &home[..]].concat());
        assert!(findings.contains(what), "{name} was not found: {findings}");
    }
    assert!(!findings_of(&[0x8b, 0x00]).contains("read from anywhere"), "read, and an exit: all is cleared");
}

#[test]
fn the_audit_finds_reads_of_the_list_and_decisions_by_them() {
    let (list, constant) = (map::LIST + 8, map::CONSTANT + map::CONSTANT_WORD);
    let home = [0x31, 0xc9, 0x0f, 0x01, 0xd4];
    // mov rax, [list + 8], and [constant], and what lies behind that.
    let read = |at| findings_of(&relative(&[0x48, 0x8b, 0x05], at, &home, 0)).contains("takes along");
    assert_eq!([list, constant, constant + 1].map(read), [true, false, true]);
    assert!(findings_of(&[0x3a, 0x00, 0x75, 0x02]).contains("decides by"), "cmp al, [rax]; jne");
}

/// The bases of FS and GS are the guest's: an address relative to RIP is not fixed with one of them.
#[test]
fn the_audit_finds_segments_before_fixed_addresses() {
    let (slot, constant) = (map::LIST + 16, map::CONSTANT + map::CONSTANT_WORD);
    for segment in [0x64, 0x65] {
        let findings = findings_of(&relative(&[segment, 0xc6, 0x05], slot, &[6], 1));
        assert!(findings.contains("`mov") && findings.contains("writes"), "{findings}");
        let home = [0x31, 0xc9, 0x0f, 0x01, 0xd4];
        let findings = findings_of(&relative(&[segment, 0x48, 0x3b, 0x15], constant, &home, 0));
        assert!(findings.contains("takes along"), "{findings}");
    }
    let plain = findings_of(&relative(&[0xc6, 0x05], slot, &[6], 1));
    assert!(!plain.contains("`mov"), "{plain}");
}
