//! A15, A17, A20: a call that is interrupted at every instruction of the crossing, one after the other.
//!
//! A breakpoint on one byte of gate page, window page or window code aborts the call where that instruction comes first. What the
//! monitor then says was accepted is taken for sent, everything else is sent again: the receiver finds out whether that was true.

use crate::attack::{Error, arm};
use crate::crossing;
use crate::debug::{self, On};
use crate::leap::{End, GATE, RETURN};
use crate::numbered::Sender;
use sluice::Status;
use sluice_abi::map;
use sluice_gate::{OPEN, STUB_ABORT};
use sluice_runtime::{Machine, println};

/// Frames of a call.
const COUNT: u64 = 3;

/// Every byte, with frames that have headers and with such that have none.
pub fn step(machine: &mut Machine) -> Result<(), Error> {
    let armed = arm(machine)?;
    machine.wait_for_peer(&armed.gate, None)?;
    let mut sender = Sender::new(armed.own, armed.request);
    let page = (GATE + u64::from(OPEN)..GATE + u64::from(STUB_ABORT)).filter(|&at| at != RETURN);
    let code = map::SLOT_VA + map::CODE;
    let mut aborted = 0;
    for at in page.chain(code..code + map::CODE_LEN / 4) {
        for headers in [false, true] {
            debug::set(at, On::Execution);
            sender.ask(COUNT, headers)?;
            let landing = crossing::checked(crossing::proper(COUNT));
            debug::clear();
            let landing = landing?;
            sender.note(&landing, COUNT)?;
            match landing.end() {
                End::Aborted => aborted += 1,
                End::Returned(Status::FULL) => machine.yield_now(),
                _ => {}
            }
        }
    }
    println!("stepping: {aborted} aborted, {} sent", sender.sent);
    sender.finish(machine)
}
