//! A20: the VM's own timer expires at every instruction of a call, one after the other. Calls go through the stub, with
//! interrupts on.

use super::host;
use super::numbered::NumberedSender;
use super::row::Row;
use super::{Armed, Error, register};
use core::ops::Range;
use sluice::{BURST_SIZE, Status};
use sluice_clock::Ticker;
use sluice_vnf::{Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("interrupts", |machine, _| each(machine))];

/// The kinds of calls: the number of frames, and the number of instructions from the request of an expiry to its exit,
/// and to the end of the call.
const CALLS: [(u64, Range<u64>); 2] = [(0, 1_300..2_400), (BURST_SIZE as u64, 1_300..4_200)];
/// Ticks from the handler of one expiry to the next, unless another is requested: more than a request ever takes.
const NEVER: u64 = 1 << 32;
/// The exits from one question for their number to the next, if the interrupt waits for the call: the timer is set, it
/// expires, interrupts are on again, the handler sets it once more and ends the interrupt, and the question.
const WAITED: u64 = 6;

/// Makes each call with each delay.
fn each(machine: &mut Vnf) -> Result<(), Error> {
    let Armed { gate, own, request } = register(machine)?;
    machine.wait_for_peer(&gate, None)?;
    let mut sender = NumberedSender::new(own, request);
    let mut rows = CALLS.map(|(_, delays)| Row::new(delays));
    let mut expiries =
        CALLS.into_iter().enumerate().flat_map(|(row, (count, delays))| delays.map(move |delay| (row, count, delay)));
    let ticker = Ticker { period: NEVER, count: expiries.clone().count() as u64 };
    let handled = sluice_clock::tick(ticker, || {
        let Some((row, count, delay)) = expiries.next() else { return Err(Error::Endless) };
        if waits(machine, &mut sender, count, delay)? {
            rows[row].note(delay);
        }
        Ok(())
    });
    let handled = handled?.ok_or(Error::Arguments)?.count();
    CALLS.iter().zip(&rows).for_each(|((count, _), row)| println!("burst of {count}: {row}"));
    println!("handled {handled}");
    println!("interrupts: 0 aborted, {} sent", sender.sent);
    sender.ask_last()?;
    machine.yield_now();
    call(1)
}

/// Makes a call, and requests an expiry `delay` instructions later. Returns whether the interrupt waited for the call,
/// which changes nothing for the call.
fn waits(machine: &Vnf, sender: &mut NumberedSender, count: u64, delay: u64) -> Result<bool, Error> {
    if sender.ends_the_ring(count) {
        sender.ask(count, false)?;
        call(count)?;
        sender.sent += count;
    }
    sender.ask(count, false)?;
    // The receiver makes room. Then a turn of the VM's begins, which is not over before the call.
    machine.yield_now();
    let exits = sluice_clock::exits();
    sluice_clock::expire_in(delay);
    call(count)?;
    sender.sent += count;
    // The timer expires before anything else happens.
    let asked = clock::now();
    while clock::now() < asked + delay {}
    Ok(sluice_clock::exits() - exits == WAITED)
}

fn call(count: u64) -> Result<(), Error> {
    match host::through_stub(count).status {
        Status::OK => Ok(()),
        status => Err(Error::NotStopped(status.0)),
    }
}
