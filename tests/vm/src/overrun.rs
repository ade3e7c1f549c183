//! A8: calls that take longer than the manifest lets them.

use crate::attack::{Error, arm};
use crate::crossing;
use crate::leap::End;
use crate::numbered::Sender;
use sluice_abi::call::MAX_BURST;
use sluice_runtime::{Machine, println};

/// Frames to send.
const FRAMES: u64 = 5_000;

/// Sends as many frames at a time as there can be; after an abort half as many, until all are sent.
pub fn overrun(machine: &mut Machine) -> Result<(), Error> {
    let armed = arm(machine)?;
    machine.wait_for_peer(&armed.gate, None)?;
    let mut sender = Sender::new(armed.own, armed.request);
    let (mut count, mut aborted) = (MAX_BURST as u64, 0);
    while sender.sent < FRAMES {
        sender.ask(count, false)?;
        let landing = crossing::checked(crossing::proper(count))?;
        sender.note(&landing, count)?;
        if landing.end() == End::Aborted {
            aborted += 1;
            count = (count / 2).max(1);
        }
        machine.yield_now();
    }
    println!("overrun: {aborted} aborted, {} sent", sender.sent);
    sender.finish(machine)
}
