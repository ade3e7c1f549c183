//! A7, A10, A21: exceptions of the VM's own making in gate and window, and tables that would receive them there.

use super::alias;
use super::debug::{self, On};
use super::descriptors::{self, KERNEL_DATA};
use super::leap;
use super::{Error, arm, ask_one, install, register};
use super::{cpu, crossing, snippet};
use sluice_abi::{PeerIdx, map};
use sluice_gate::OPEN;
use sluice_vnf::{Vnf, println};
use x86_64::registers::control::{Cr0, Cr0Flags};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("watch", |machine, _| watch(machine)),
    ("descriptors", |machine, _| descriptor_tables(machine)),
    ("ts", |machine, _| task_switched(machine)),
];

/// Breakpoints on data that only the window touches.
const WATCHED: [(&str, u64, On); 3] = [
    ("stack", map::STACK + map::STACK_LEN - 8, On::Write),
    ("state", map::STATE + 32, On::Write),
    ("request", map::REQUEST, On::Access),
];

/// Makes a call with each of the breakpoints, then one with a breakpoint on the operand of a MOV SS, which is held back
/// until after the VMFUNC behind it.
fn watch(machine: &mut Vnf) -> Result<(), Error> {
    ask_one(&arm(machine)?)?;
    for (name, offset, on) in WATCHED {
        debug::set(map::SLOT_VA + offset, on);
        let landing = crossing::checked(crossing::proper(1));
        debug::clear();
        println!("watch {name}: {}", landing?.end());
    }
    held_back()
}

fn held_back() -> Result<(), Error> {
    const MOV_SS_RBX_VMFUNC: [u8; 5] = [0x8e, 0x13, 0x0f, 0x01, 0xd4];
    let selector = KERNEL_DATA;
    let mut state = crossing::proper(1);
    state.rip = alias::put(OPEN, &MOV_SS_RBX_VMFUNC);
    state.general[leap::RBX] = (&raw const selector).addr() as u64;
    debug::set(state.general[leap::RBX] & !7, On::Access);
    let landing = crossing::call(&state);
    debug::clear();
    println!("mov ss: {}", landing.end());
    Ok(())
}

/// The bases that reach into what gate and window map: from within, from just before, and from its end.
const BASES: [u64; 5] = [
    map::SLOT_VA,
    map::SLOT_VA + map::PACKETS,
    map::SLOT_VA + map::peer_base(PeerIdx(0)),
    map::SLOT_VA - 0xffff,
    map::SLOT_VA + (1 << 39) - 1,
];

/// Loads every table with each of the bases, and with one in the VM's own memory.
fn descriptor_tables(machine: &mut Vnf) -> Result<(), Error> {
    const LIDT: [u8; 3] = [0x0f, 0x01, 0x18];
    const LGDT: [u8; 3] = [0x0f, 0x01, 0x10];
    arm(machine)?;
    for (name, code) in [("idt", LIDT), ("gdt", LGDT)] {
        let pointers = BASES.map(|base| descriptors::pointer(base, 4096));
        let refused = pointers.iter().filter(|pointer| snippet::run(&code, *pointer) == snippet::REFUSED);
        println!("{name} in the slot: {} of {} refused", refused.count(), BASES.len());
    }
    let refused = BASES.iter().filter(|&&base| descriptors::load_task(base) == snippet::REFUSED);
    println!("tss in the slot: {} of {} refused", refused.count(), BASES.len());
    println!("call after that: {}", crossing::checked(crossing::proper(0))?.end());
    Ok(())
}

/// Raises #NM in the window: the frames go through vector registers, and CR0.TS is the guest's.
fn task_switched(machine: &mut Vnf) -> Result<(), Error> {
    let armed = register(machine)?;
    machine.wait_for_peer(&armed.gate, None)?;
    install();
    let mut sender = super::numbered::NumberedSender::new(armed.own, armed.request);
    let clear = Cr0::read_raw() & !Cr0Flags::TASK_SWITCHED.bits();
    for (name, ts) in [("set", Cr0Flags::TASK_SWITCHED), ("clear", Cr0Flags::empty())] {
        sender.ask(2, false)?;
        cpu::set_cr0(clear | ts.bits());
        let landing = crossing::call(&crossing::proper(2));
        cpu::set_cr0(clear);
        sender.note(&landing, 2)?;
        println!("ts {name}: {}, {} sent", landing.end(), sender.sent);
    }
    sender.finish(machine)
}
