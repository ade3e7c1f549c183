//! A20: an NMI at every instruction of a call, one after the other.
//!
//! A receiver on a processor of its own resets its device in the middle of a call, and the monitor there interrupts the
//! sender's processor by an NMI. With more than one processor, Bochs executes [`SLOT`] instructions of the one, then as
//! many of the next. The counter, which all share, is the same meanwhile, and moves by as many. An NMI is noticed where
//! a slot begins. So sender and receiver wait for the same value of the counter, each to the instruction. From one turn
//! to the next the sender goes on an instruction earlier, and every fifth time the receiver a slot later.

use super::cpu::wait_until;
use super::host;
use super::numbered::{NumberedSender, Seen};
use super::ring::{Idle, Ring};
use super::row::Row;
use super::{Armed, Error, register};
use core::ops::Range;
use sluice::{BURST_SIZE, Gate, PeerIdx, RingFormat, Status};
use sluice_abi::call::Code;
use sluice_abi::directory::PeerState;
use sluice_vnf::{Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] =
    &[("reset", |machine, how| receiver(machine, super::format(how)?)), ("nmi", |machine, _| sender(machine))];

/// The number of instructions of a processor before the next one's turn.
const SLOT: u64 = 5;
/// Both sides wait for multiples of this, which is longer than what they do in between.
const PERIOD: u64 = 1 << 15;
/// The number of ticks after which the other side must be gone.
const LIMIT: u64 = 1 << 26;
/// The number of instructions that the sender waits, so that the receiver's exit takes no longer.
const HEAD_START: u64 = 4400;
/// The exits of a turn in whose call the window was open when the NMI came: the NMI, the next call's, and the question
/// for their number.
const IN_WINDOW: u64 = 3;

/// The kinds of calls: the number of frames, and the number of instructions after which the NMI comes.
const CALLS: [(u64, Range<u64>); 2] = [(0, 250..900), (BURST_SIZE as u64, 250..1_900)];

/// Runs the receiver.
fn receiver(machine: &mut Vnf, format: RingFormat) -> Result<(), Error> {
    let (_, memory) = machine.connect()?;
    let mut seen = Seen::default();
    for later in CALLS.into_iter().flat_map(|(_, later)| later) {
        let mut ring = Ring::new(memory, format)?;
        ring.prepare(machine);
        wait_until(next(), 0);
        Ring::go(machine);
        wait_until(next(), later.next_multiple_of(SLOT));
        Ring::stop(machine);
        while ring.take(|frame| seen.see(frame))? {}
    }
    let mut ring = Ring::new(memory, format)?;
    ring.start(machine);
    let mut idle = Idle::default();
    while !seen.over {
        idle.turn(machine, ring.take(|frame| seen.see(frame))?)?;
    }
    seen.report()
}

/// Runs the sender.
fn sender(machine: &mut Vnf) -> Result<(), Error> {
    let Armed { gate, own, request } = register(machine)?;
    let mut sender = NumberedSender::new(own, request);
    for (count, range) in CALLS {
        let mut row = Row::new(range.clone());
        for later in range {
            if called_back(&gate, &mut sender, count, later)? {
                row.note(later);
            }
        }
        println!("burst of {count}: {row}");
    }
    println!("nmi: 0 aborted, {} sent", sender.sent);
    until(|| gate.peer_state(PeerIdx(0)) == PeerState::Ready)?;
    sender.ask_last()?;
    match host::through_stub(1).status {
        Status::OK => Ok(()),
        status => Err(Error::NotStopped(status.0)),
    }
}

/// Runs one turn, and returns whether the NMI came while the window was open. The call is as if no NMI had come, unless
/// the NMI came before it.
fn called_back(gate: &Gate, sender: &mut NumberedSender, count: u64, later: u64) -> Result<bool, Error> {
    sender.ask(count, false)?;
    until(|| gate.peer_state(PeerIdx(0)) == PeerState::Ready)?;
    let exits = sluice_clock::exits();
    wait_until(next(), HEAD_START + later.next_multiple_of(SLOT) - later);
    let called = host::through_stub(count);
    // The window is held, if it was open.
    host::through_stub(0);
    let exits = sluice_clock::exits() - exits;
    match called.status {
        Status::OK => sender.sent += count,
        status if status.code() == Code::PeerNotReady && exits < IN_WINDOW => {}
        status => return Err(Error::NotStopped(status.0)),
    }
    until(|| gate.peer_state(PeerIdx(0)) != PeerState::Ready)?;
    Ok(exits == IN_WINDOW)
}

fn until(condition: impl Fn() -> bool) -> Result<(), Error> {
    let limit = clock::now() + LIMIT;
    while clock::now() < limit {
        if condition() {
            return Ok(());
        }
    }
    Err(Error::Endless)
}

fn next() -> u64 {
    (clock::now() + 1).next_multiple_of(PERIOD)
}
