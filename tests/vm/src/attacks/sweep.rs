//! A2: entering the gate page at every byte, with many sets of registers.
//!
//! # How each entry is judged
//! An entry ends in a landing, which only home's tables lead to (`leap.rs`). Then comes one hypercall: at each exit
//! from home the monitor compares the whole EPTP list with what it must be, slot 2 at rest included, and stops a VM
//! whose list differs. So a list written by an entry ends the sweep right there, with a line of the monitor's, and the
//! monitor has no code that is for this test. After the last entry the VM tries slot 2 from home, which has to end it
//! with exit reason 59. The victim, whose memory the window maps, finds what the entries wrote elsewhere.

use super::host::exit_once;
use super::leap::{self, End, Landing, State};
use super::{Error, arm, install};
use super::{alias, debug, home, hostile};
use sluice_gate::STUB_ABORT;
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[
    ("sweep", |machine, _| sweep(machine)),
    ("unregistered", |machine, _| unregistered(machine)),
    ("stepped", |machine, _| stepped(machine)),
];

/// The counts of how the entries ended.
#[derive(Default)]
struct Tally {
    aborted: u64,
    returned: u64,
}

/// Enters at every offset with every set, and then tries slot 2.
fn sweep(machine: &mut Vnf) -> Result<(), Error> {
    arm(machine)?;
    let mut tally = Tally::default();
    for offset in 0..4096 {
        let rip = alias::vmfunc_before(offset);
        for set in hostile::sets(u64::from(offset)) {
            tally.enter(offset, State { rip, ..set })?;
        }
    }
    let Tally { aborted, returned } = tally;
    println!("sweep: {} entries, {aborted} aborted, {returned} returned", aborted + returned);
    home::switch_to(2)
}

/// Enters once at each offset, by a VM that never registered: slot 2 is disabled, and no page tables lead into the gate
/// (A22).
fn unregistered(_: &mut Vnf) -> Result<(), Error> {
    install();
    once_each("unregistered", 0)
}

/// Enters with the single-step flag, by a VM that did register: each entry ends before the instruction that is there
/// (A20).
fn stepped(machine: &mut Vnf) -> Result<(), Error> {
    arm(machine)?;
    once_each("stepped", leap::TF)
}

fn once_each(what: &str, flags: u64) -> Result<(), Error> {
    let mut tally = Tally::default();
    for offset in 0..4096 {
        let rip = alias::vmfunc_before(offset);
        let set = hostile::sets(u64::from(offset)).nth(usize::from(offset) % hostile::SETS).unwrap_or(State::at(rip));
        tally.enter(offset, State { rip, rflags: set.rflags | flags, ..set })?;
    }
    println!("{what}: {} aborted, {} returned", tally.aborted, tally.returned);
    home::switch_to(2)
}

impl Tally {
    fn enter(&mut self, offset: u16, mut state: State) -> Result<(), Error> {
        state.general[leap::RAX] &= !0xffff_ffff;
        state.general[leap::RCX] = state.general[leap::RCX] & !0xffff_ffff | 1;
        match leap_from(offset, state).end() {
            End::Aborted => self.aborted += 1,
            End::Returned(_) => self.returned += 1,
            End::Exception(vector) => return Err(Error::Landed { offset, vector }),
        }
        exit_once();
        Ok(())
    }
}

/// Leaps to `state`. The byte behind the VMFUNC there is byte `offset` of the gate page.
fn leap_from(offset: u16, mut state: State) -> Landing {
    // The monitor resumes an aborted call where this VMFUNC is. A breakpoint stops it there, which RF holds back the
    // first time.
    let resumed_at_vmfunc = offset == STUB_ABORT + 3;
    if resumed_at_vmfunc {
        debug::set(leap::ABORT, debug::On::Execution);
        state.rflags |= leap::RF;
    }
    let landing = leap::leap(&state);
    if resumed_at_vmfunc {
        debug::clear();
    }
    landing
}
