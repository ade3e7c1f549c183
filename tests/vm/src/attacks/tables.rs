//! A4, A18: page tables of the VM's choice for the gate to be walked with.

use super::page::Page;
use super::{Armed, Error, arm, ask_one, register_again};
use super::{alias, cpu, crossing, leap};
use sluice_abi::{PeerIdx, map};
use sluice_gate::OPEN;
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("tables", |machine, _| own(machine)),
    ("anew", |machine, _| anew(machine)),
    ("forged", |machine, how| forged(machine, how)),
];

/// A second top-level table, which maps all that the registered one does.
static OTHER: Page = Page::new();

fn copy_root(root: u64) -> u64 {
    (0..512).for_each(|index| OTHER.set(index as usize, cpu::peek(root + 8 * index)));
    OTHER.gpa()
}

fn call_with(root: u64, what: &str) -> Result<(), Error> {
    cpu::set_cr3(root);
    let landing = crossing::checked(crossing::proper(1));
    println!("{what}: {}", landing?.end());
    Ok(())
}

/// Tries a table of the VM's own that is not registered, and the registered one with other low bits.
fn own(machine: &mut Vnf) -> Result<(), Error> {
    const PWT_PCD: u64 = 0b11 << 3;
    ask_one(&arm(machine)?)?;
    let root = cpu::cr3();
    call_with(copy_root(root), "tables of its own")?;
    call_with(root | PWT_PCD, "registered tables, uncached")?;
    call_with(root, "registered tables")
}

/// Registers another table in place of the first.
fn anew(machine: &mut Vnf) -> Result<(), Error> {
    let armed: Armed = arm(machine)?;
    ask_one(&armed)?;
    let root = cpu::cr3();
    let other = copy_root(root);
    cpu::set_cr3(other);
    register_again(&armed)?;
    call_with(other, "tables registered anew")?;
    call_with(root, "tables registered before")
}

/// Aims CR3 at what only gate or window have, by an instruction right before the VMFUNC. All that is needed until then
/// is global in the TLB. The home view has no such tables to come back with, so this ends the VM.
fn forged(machine: &mut Vnf, what: &str) -> Result<(), Error> {
    const MOV_CR3_RBX_VMFUNC: [u8; 6] = [0x0f, 0x22, 0xdb, 0x0f, 0x01, 0xd4];
    let Armed { own, .. } = arm(machine)?;
    let offset = match what {
        // The words are the pattern, and what a packet may have put there.
        "peer" => map::peer_base(PeerIdx(0)) + own.gpa.0,
        "payload" => map::PACKETS,
        "list" => map::LIST,
        "tables" => map::TABLES,
        _ => return Err(Error::Arguments),
    };
    forge(own);
    alias::make_global();
    let mut state = crossing::proper(1);
    state.rip = alias::put(OPEN, &MOV_CR3_RBX_VMFUNC);
    state.general[leap::RBX] = map::SLOT_GPA + offset;
    Err(Error::NotStopped(crossing::call(&state).rip))
}

/// Fills the start of packet memory with tables, one in the other, that would lead from the gate's address to the gate
/// page.
fn forge(own: sluice::PacketMemory) {
    const PRESENT_WRITE: u64 = 0b11;
    let at = map::SLOT_GPA + map::PACKETS;
    for (level, index) in [(0, map::SLOT_PML4_INDEX as u64), (1, 0), (2, 0), (3, 0)] {
        let next = if level == 3 { map::SLOT_GPA + map::GATE } else { at + (level + 1) * map::PAGE };
        // Packet memory is larger than the tables.
        let _ = own.memory.write(level * map::PAGE + 8 * index, next | PRESENT_WRITE);
    }
}
