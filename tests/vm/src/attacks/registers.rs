//! A5, A6, A10: proper calls, but for the stack pointer, the flags or the segment bases.

use super::cpu::{self, Saved};
use super::host::exit_once;
use super::leap::{self, AC, DF, FLAGS, IF, NT, RF, TF};
use super::{Error, arm, ask_one};
use super::{alias, crossing, segments, snippet};
use sluice_abi::lapic::{IA32_TSC_DEADLINE, MODE_TSC_DEADLINE, X2APIC_LVT_TIMER};
use sluice_abi::{PeerIdx, map};
use sluice_gate::OPEN;
use sluice_vnf::{Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("x87", |machine, _| x87(machine)),
    ("sti", |machine, _| sti(machine)),
    ("stacks", |machine, _| stacks(machine)),
    ("flags", |machine, _| flags(machine)),
    ("bases", |machine, _| bases(machine)),
];

/// Stack pointers aimed at what the window maps, and at what no view maps.
const STACKS: [(&str, u64); 6] = [
    ("peer", map::SLOT_VA + map::peer_base(PeerIdx(0)) + (3 << 20)),
    ("list", map::SLOT_VA + map::LIST + 24),
    ("state", map::SLOT_VA + map::STATE + 64),
    ("stack", map::SLOT_VA + map::STACK + map::STACK_LEN),
    ("nothing", map::SLOT_VA + map::STACK),
    ("non-canonical", 1 << 63),
];

/// Makes a call with each of the stack pointers, which come back with the call.
fn stacks(machine: &mut Vnf) -> Result<(), Error> {
    ask_one(&arm(machine)?)?;
    for (name, rsp) in STACKS {
        let landing = crossing::checked(leap::State { rsp, ..crossing::proper(1) })?;
        println!("rsp {name}: {}, {}", landing.end(), if landing.rsp == rsp { "the same" } else { "changed" });
    }
    Ok(())
}

/// The flags that mean something to a gate.
const NAMES: [(&str, u64); 6] = [("if", IF), ("df", DF), ("rf", RF), ("nt", NT), ("ac", AC), ("tf", TF)];

/// Makes a call with each of the flags.
fn flags(machine: &mut Vnf) -> Result<(), Error> {
    ask_one(&arm(machine)?)?;
    for (name, flag) in NAMES {
        let landing = crossing::checked(leap::State { rflags: FLAGS | flag, ..crossing::proper(1) })?;
        println!("flag {name}: {}", landing.end());
    }
    Ok(())
}

/// A control word that no reset leaves: all exceptions masked, and results rounded down.
const CONTROL: u16 = 0x077f;

/// Makes a call that is aborted, with a value in every x87 register. A load in the gate, where the list is mapped,
/// would leave a value there.
fn x87(machine: &mut Vnf) -> Result<(), Error> {
    ask_one(&arm(machine)?)?;
    cpu::fill_x87(CONTROL);
    let before = is_clear(&cpu::saved_x87());
    let landing = crossing::call(&leap::State { rflags: FLAGS | TF, ..crossing::proper(1) });
    let saved = cpu::saved_x87();
    println!("x87: {}, clear before {before}, after {}", landing.end(), is_clear(&saved));
    println!("x87: control word kept {}", saved.0[..2] == CONTROL.to_le_bytes());
    Ok(())
}

/// Returns whether nothing is in the registers, nor in status, tags and last instruction.
fn is_clear(Saved(bytes): &Saved) -> bool {
    bytes[2..24].iter().chain(&bytes[32..160]).all(|&byte| byte == 0)
}

/// Lets the timer come due while interrupts are off. STI holds the interrupt back for one instruction more, the VMFUNC,
/// so the interrupt could come first in the gate. It waits for the call, as it does where interrupts were on all along.
fn sti(machine: &mut Vnf) -> Result<(), Error> {
    const STI_VMFUNC: [u8; 4] = [0xfb, 0x0f, 0x01, 0xd4];
    const STI_NOP: [u8; 2] = [0xfb, 0x90];
    /// The vector is behind the end of the IDT, so its delivery is a #GP.
    const VECTOR: u64 = 0x40;
    ask_one(&arm(machine)?)?;
    cpu::write_msr(X2APIC_LVT_TIMER, MODE_TSC_DEADLINE | VECTOR);
    cpu::write_msr(IA32_TSC_DEADLINE, clock::now() + 1);
    exit_once();
    let mut state = crossing::proper(1);
    state.rip = alias::put(OPEN, &STI_VMFUNC);
    println!("sti: {}", crossing::checked(state)?.end());
    println!("then: exception {}", snippet::execute(&STI_NOP, &leap::State::at(0)));
    println!("call after that: {}", crossing::checked(crossing::proper(1))?.end());
    Ok(())
}

/// Makes calls with FS and GS on peer memory, and on the list.
fn bases(machine: &mut Vnf) -> Result<(), Error> {
    ask_one(&arm(machine)?)?;
    for (name, base) in [("peer", STACKS[0].1), ("list", STACKS[1].1)] {
        segments::set_bases(base);
        println!("bases {name}: {}", crossing::checked(crossing::proper(1))?.end());
    }
    segments::set_bases(0);
    Ok(())
}
