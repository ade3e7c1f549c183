//! A20: the preemption timer runs out at every instruction of a call, one after the other.
//!
//! The timer starts when the VM's turn does, and counts instructions in Bochs. A delay of one instruction less makes it
//! run out one instruction later in the call.

use super::cpu::delay;
use super::crossing;
use super::leap::{self, State};
use super::numbered::NumberedSender;
use super::row::Row;
use super::{Error, install, register};
use core::ops::Range;
use sluice::BURST_SIZE;
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("timer", |machine, _| run_out(machine))];

/// The number of instructions from a turn's beginning to the call. The longest call is over before the turn is, or
/// begins behind it. (A turn is the manifest's `quantum_ticks`, which is long enough for the receiver to take all
/// frames.)
const DELAYS: Range<u64> = 37_500..40_000;

/// Makes an empty call and a whole burst, each with every delay.
fn run_out(machine: &mut Vnf) -> Result<(), Error> {
    let armed = register(machine)?;
    machine.wait_for_peer(&armed.gate, None)?;
    install();
    let mut sender = NumberedSender::new(armed.own, armed.request);
    let mut aborted = 0;
    for count in [0, BURST_SIZE as u64] {
        let (mut row, state) = (Row::new(DELAYS), crossing::proper(count));
        for instructions in DELAYS {
            if sender.ends_the_ring(count) {
                one(machine, &mut sender, &state, 0)?;
            }
            if one(machine, &mut sender, &state, instructions)? {
                row.note(instructions);
            }
        }
        println!("burst of {count}: {row}");
        aborted += row.count;
    }
    println!("timer: {aborted} aborted, {} sent", sender.sent);
    sender.finish(machine)
}

/// Makes a call after a delay, and returns whether it was aborted. All of the call was delivered, or nothing.
fn one(machine: &Vnf, sender: &mut NumberedSender, state: &State, instructions: u64) -> Result<bool, Error> {
    let count = state.general[leap::RDI];
    sender.ask(count, false)?;
    machine.yield_now();
    delay(instructions);
    let landing = crossing::checked(*state)?;
    sender.note_whole(&landing, count)
}
