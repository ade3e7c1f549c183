//! A25: calls of a program, which are aborted: what the program has of its kernel afterwards, and the kernel of the
//! program.

use super::descriptors::{USER_CODE, USER_DATA};
use super::leap::{self, AC, DF, End, FLAGS, IF, Landing, NT, State, TF};
use super::masked::VECTOR;
use super::numbered::NumberedSender;
use super::{Error, install, register};
use super::{alias, cpu, crossing};
use sluice_abi::lapic::{IA32_TSC_DEADLINE, MODE_TSC_DEADLINE, X2APIC_LVT_TIMER};
use sluice_abi::map;
use sluice_gate::{CLOSE, OPEN, RETURN, STUB_ABORT};
use sluice_vnf::{Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("aborted", |machine, _| of_a_program(machine))];

const ID: u64 = 1 << 21;
const IOPL_3: u64 = 3 << 12;
const FLAG_SETS: [u64; 7] = [0, IF, IF | DF, IF | AC | ID, IF | IOPL_3, NT | IF, IF | TF];
const VMFUNC_BELOW: [u8; 16] =
    [0x0f, 0x01, 0xd4, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc];
/// The code of a loop that ends: MOV ECX, 2,000,000; DEC ECX; JNZ.
const LOOP: [u8; 9] = [0xb9, 0x80, 0x84, 0x1e, 0x00, 0xff, 0xc9, 0x75, 0xfc];

/// Lets the kernel send, and then the program call, with each of the flags and from each of the addresses.
fn of_a_program(machine: &mut Vnf) -> Result<(), Error> {
    let armed = register(machine)?;
    machine.wait_for_peer(&armed.gate, None)?;
    install();
    let mut sender = NumberedSender::new(armed.own, armed.request);
    sender.ask(2, false)?;
    sender.note(&crossing::call(&crossing::proper(2)), 2)?;
    let kept = FLAG_SETS
        .iter()
        .filter(|&&flags| called(FLAGS | flags, alias::vmfunc_before(OPEN), 64).rflags == FLAGS | flags);
    let kept = kept.count();
    println!("flags: {kept} of {} kept", FLAG_SETS.len());
    learns()?;
    interrupted()?;
    sender.finish(machine)
}

/// Makes a call of ring 3 by the VMFUNC at `rip`, with RSP at `rsp`.
fn called(rflags: u64, rip: u64, rsp: u64) -> Landing {
    let mut state = State { rflags, rsp, cs: USER_CODE, ss: USER_DATA, ..State::at(rip) };
    state.general[leap::RCX] = 1;
    crossing::call(&state)
}

/// Calls from all addresses around the gate, with stacks that are the window's. Each call comes back with its own
/// stack, and without anything that the kernel's call delivered. So does a call of the kernel itself, from where it was
/// not in the window.
fn learns() -> Result<(), Error> {
    let own = map::SLOT_VA + map::STACK;
    let places = [0, OPEN, CLOSE, CLOSE + 1, RETURN, 0x800].map(|offset| move || alias::vmfunc_before(offset));
    let below = || {
        alias::vmfunc_before(OPEN);
        alias::put(0, &VMFUNC_BELOW)
    };
    let mut calls = 0;
    for place in places.iter().map(|place| place as &dyn Fn() -> u64).chain([&below as &dyn Fn() -> u64]) {
        for rsp in [own, own + 64, own + map::STACK_LEN, 64] {
            let landing = called(FLAGS | IF, place(), rsp);
            let accepted = landing.general[8..12].iter().any(|&word| word != 0);
            if landing.end() != End::Aborted || landing.rsp != rsp || accepted {
                return Err(Error::Leaked { register: 4, value: landing.rsp });
            }
            calls += 1;
        }
    }
    let mut state = State { rsp: own + 64, ..State::at(below()) };
    state.general[leap::RCX] = 1;
    let kernel = crossing::call(&state);
    println!(
        "learns: nothing in {calls} calls; the kernel's stack is {}",
        if kernel.rsp == own + 64 { "its own" } else { "another" }
    );
    Ok(())
}

/// Lets an interrupt come due before, while and after the program calls, and one long after.
fn interrupted() -> Result<(), Error> {
    let mut seen = 0;
    let delays = (1_500..2_700).chain([50_000]);
    let all = delays.clone().count();
    for delay in delays {
        let rip = alias::vmfunc_before(OPEN);
        alias::put(STUB_ABORT + LOOP.len() as u16, &LOOP);
        cpu::write_msr(X2APIC_LVT_TIMER, MODE_TSC_DEADLINE | VECTOR);
        cpu::write_msr(IA32_TSC_DEADLINE, clock::now() + delay);
        let landing = called(FLAGS | IF, rip, 64);
        if landing.vector != VECTOR || landing.cs & 3 != 3 {
            return Err(Error::NotStopped(delay));
        }
        seen += 1;
        cpu::write_msr(IA32_TSC_DEADLINE, 0);
        cpu::write_msr(sluice_abi::lapic::X2APIC_EOI, 0);
    }
    println!("interrupts: {seen} of {all}");
    Ok(())
}
