//! A23: a program, ring 3, uses what the monitor executes in its kernel's place, to reach what its page tables forbid.

use super::alias;
use super::cpu;
use super::descriptors::{USER_CODE, USER_CODE_32, USER_DATA};
use super::leap::{self, Landing, State};
use super::page::Page;
use super::snippet;
use super::{Error, arm};
use sluice_abi::map;
use sluice_vnf::{Vnf, println};
use x86_64::registers::control::{Cr2, Cr4, Cr4Flags};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("emulated", |machine, _| by_a_program(machine))];

/// The instructions that store, with their operand at RAX, and the number of bytes that each stores in 64-bit mode.
const STORES: [(&str, [u8; 3], u64); 4] = [
    ("sgdt", [0x0f, 0x01, 0x00], 10),
    ("sidt", [0x0f, 0x01, 0x08], 10),
    ("sldt", [0x0f, 0x00, 0x00], 2),
    ("str", [0x0f, 0x00, 0x08], 2),
];
const LOADS: [(&str, [u8; 3]); 4] = [
    ("lgdt", [0x0f, 0x01, 0x10]),
    ("lidt", [0x0f, 0x01, 0x18]),
    ("lldt", [0x0f, 0x00, 0x10]),
    ("ltr", [0x0f, 0x00, 0x18]),
];
const STR_CX: [u8; 4] = [0x66, 0x0f, 0x00, 0xc9];
const STR_ECX: [u8; 3] = [0x0f, 0x00, 0xc9];
/// The same instructions with an operand on SS: DS of a program is null, as its kernel's IRET leaves it.
const SGDT_SS: [u8; 4] = [0x36, 0x0f, 0x01, 0x00];
const LOAD_SS: [u8; 3] = [0x36, 0x8b, 0x08];
const LOAD: [u8; 2] = [0x8b, 0x08];
const ADD: [u8; 2] = [0x01, 0x08];

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ONES: u64 = u64::MAX;
/// The pages of the slot that the operands are in. The second follows the first.
const PAGES: [u64; 2] = [100, 101];

static MEMORY: [Page; 2] = [const { Page::new() }; 2];

/// Runs all parts. Each line has the outcome, and a store that goes too far ends the attack.
fn by_a_program(machine: &mut Vnf) -> Result<(), Error> {
    arm(machine)?;
    for (name, code, len) in STORES {
        stores(name, &code, len)?;
    }
    registers();
    privileged();
    compatibility();
    device();
    Ok(())
}

/// Returns the state of ring 3 with RAX at `at`.
fn program(at: u64) -> State {
    let mut state = State { cs: USER_CODE, ss: USER_DATA, ..State::at(0) };
    state.general[leap::RAX] = at;
    state
}

/// Fills both pages with ones, maps them with these rights, and returns the address of the first.
fn pages(first: u64, second: u64) -> u64 {
    MEMORY.iter().for_each(|page| page.fill(ONES));
    alias::map(PAGES[1], MEMORY[1].gpa(), second);
    alias::map(PAGES[0], MEMORY[0].gpa(), first)
}

fn untouched() -> bool {
    MEMORY.iter().all(|page| page.others(ONES) == 0)
}

/// Stores where the program may write, and where it may not.
fn stores(name: &str, code: &[u8], len: u64) -> Result<(), Error> {
    const OPEN: u64 = PRESENT | WRITABLE | USER;
    let start = pages(OPEN, OPEN);
    let end = start + map::PAGE;
    let forbidden = [
        ("kernel", PRESENT | WRITABLE, OPEN, start, Some((7, start))),
        ("read-only", PRESENT | USER, OPEN, start + 8, Some((7, start + 8))),
        ("absent", 0, OPEN, start, Some((6, start))),
        ("over the end", OPEN, PRESENT | WRITABLE, end - 1, Some((7, end))),
        ("not canonical", OPEN, OPEN, 1 << 63, None),
    ];
    for (what, first, second, at, fault) in forbidden {
        pages(first, second);
        let landing = snippet::land(code, &program(at));
        let told = fault.map_or((13, 0, 0), |(error, address)| (14, error, address));
        let address = if fault.is_some() { Cr2::read_raw() } else { 0 };
        if (landing.vector, landing.error, address) != told || !untouched() {
            println!("{name} {what}: {} {:#x} at {address:#x}", landing.vector, landing.error);
            return Err(Error::NotStopped(at));
        }
    }
    pages(OPEN, OPEN);
    let landing = snippet::land(code, &program(end - 1));
    let stored = (0..Page::WORDS)
        .rev()
        .flat_map(|word| MEMORY[1].get(word).to_be_bytes())
        .rev()
        .take_while(|&byte| byte != 0xff)
        .count() as u64;
    println!("{name}: 5 of 5 refused, exception {} behind {} bytes", landing.vector, stored.min(len - 1) + 1);
    Ok(())
}

/// STR to a register changes as much of the register as the operand is wide.
fn registers() {
    for (name, code) in [("cx", STR_CX.as_slice()), ("ecx", &STR_ECX)] {
        let mut state = program(0);
        state.general[leap::RCX] = ONES;
        println!("str {name}: {:#x}", snippet::land(code, &state).general[leap::RCX]);
    }
}

/// Tries instructions that a program may not execute at all, whatever the operand.
fn privileged() {
    let refused = |code: &[u8]| {
        let Landing { vector, error, .. } = snippet::land(code, &program(1 << 63));
        (vector, error) == (13, 0)
    };
    println!("loads: {} of 4 refused", LOADS.iter().filter(|(_, code)| refused(code)).count());
    let allowed = Cr4::read_raw();
    cpu::set_cr4(allowed | Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION.bits());
    println!("umip: {} of 4 refused", STORES.iter().filter(|(_, code, _)| refused(code)).count());
    cpu::set_cr4(allowed);
}

/// Executes SGDT in compatibility mode: six bytes, within the segment.
fn compatibility() {
    for (what, code, at) in [("ds", &SGDT_SS[1..], 0), ("ss", &SGDT_SS, 0), ("ss at the end", &SGDT_SS, 0xffff_fffe)] {
        let rip = alias::below_4_gib(code);
        let operand = rip + map::PAGE / 2;
        cpu::poke(operand, ONES);
        let state = State { rip, cs: USER_CODE_32, rsp: 0, ..program(if at == 0 { operand } else { at }) };
        let landing = super::crossing::call(&state);
        let untouched = cpu::peek(operand) >> 48 == 0xffff;
        println!("sgdt {what}: exception {}, {}", landing.vector, if untouched { "6 bytes at most" } else { "more" });
    }
}

/// Accesses the device's registers, by a program that its kernel shows them to.
fn device() {
    let shown = alias::map(PAGES[0], map::MMIO_GPA, PRESENT | WRITABLE | USER);
    let landing = snippet::land(&LOAD, &program(shown));
    println!("device: {:#x}, exception {}", landing.general[leap::RCX], landing.vector);
    println!("device, another instruction: exception {}", snippet::execute(&ADD, &program(shown)));
    alias::open(map::MMIO_GPA);
    let rip = alias::below_4_gib(&LOAD_SS);
    let landing = super::crossing::call(&State { rip, cs: USER_CODE_32, rsp: 0, ..program(map::MMIO_GPA) });
    println!("device in compatibility mode: {:#x}, exception {}", landing.general[leap::RCX], landing.vector);
    alias::map(PAGES[0], map::MMIO_GPA, PRESENT | WRITABLE);
    println!("device of the kernel's: exception {}", snippet::execute(&LOAD, &program(shown)));
}
