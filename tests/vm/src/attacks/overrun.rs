//! A8: calls that take longer than the manifest lets them.

use super::crossing;
use super::leap::End;
use super::numbered::NumberedSender;
use super::{Error, install, register};
use sluice_abi::call::MAX_BURST;
use sluice_vnf::{Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("overrun", |machine, _| overrun(machine))];

/// The number of frames to send.
const FRAMES: u64 = 5_000;

/// Sends as many frames at a time as a call may have, after an abort half as many, until all are sent.
fn overrun(machine: &mut Vnf) -> Result<(), Error> {
    let armed = register(machine)?;
    machine.wait_for_peer(&armed.gate, None)?;
    install();
    let mut sender = NumberedSender::new(armed.own, armed.request);
    let (mut count, mut aborted, mut slowest) = (MAX_BURST as u64, 0, 0);
    while sender.sent < FRAMES {
        sender.ask(count, false)?;
        let before = clock::now();
        let landing = crossing::checked(crossing::proper(count))?;
        let took = clock::now() - before;
        sender.note(&landing, count)?;
        if landing.end() == End::Aborted {
            aborted += 1;
            slowest = slowest.max(took);
            count = (count / 2).max(1);
        }
        machine.yield_now();
    }
    println!("aborted after {slowest} ticks");
    println!("overrun: {aborted} aborted, {} sent", sender.sent);
    sender.finish(machine)
}
