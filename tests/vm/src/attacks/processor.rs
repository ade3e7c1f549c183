//! What the gate asks of a processor and no emulator can get wrong: that the store to the EPTP list takes effect before
//! the next VMFUNC, and that the bytes behind a VMFUNC are fetched in the new view. This is meant for a real machine:
//! `cargo xtask image`.
//!
//! # How a round is judged
//! First home executes its own instruction at OPEN and at CLOSE, so that the processor has it decoded: INT3. Then a
//! leap enters the gate at OPEN, by a page of the VM's own, and comes back through the close. Each view has INT3 where
//! another goes on: home at OPEN, gate at ENTER and RETURN, window at CLOSE. So stale bytes are a breakpoint: one that
//! home takes, or one that aborts the call. A stale list aborts the call where the window opens. Last, an entry behind
//! the arming store has to find the window as the call's closing store left it.

use super::alias;
use super::leap::{self, End, GATE, RAX, RCX, RDI, State};
use super::{Error, arm, install};
use sluice::Status;
use sluice_gate::{CLOSE, OPEN};
use sluice_vnf::{Vnf, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("processor", |machine, how| check(machine, how))];

/// The number of lines of progress.
const LINES: u64 = 10;
/// The offset behind the gate's compare: XOR ECX, ECX, from where the gate goes on to the window.
const BEHIND_CHECK: u16 = OPEN + 23;
const VMFUNC: [u8; 3] = [0x0f, 0x01, 0xd4];
const NOPS: [u8; 3] = [0x90; 3];
/// The instruction in home.
const BREAKPOINT: End = End::Exception(3);

/// The counts of what was wrong.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// Calls that were aborted: the list was as before, or bytes of gate or window were stale.
    aborted: u64,
    /// Home's bytes that were executed behind the VMFUNC.
    stale: u64,
    /// Windows that were open behind a call.
    open: u64,
}

/// Checks the processor. `how` has the number of rounds and, to show that the check finds it, what to plant: `list` (a
/// window that no store opens), `bytes` (no switch before home's bytes), `open` (a window that is opened where it has
/// to be closed).
fn check(machine: &mut Vnf, how: &str) -> Result<(), Error> {
    let (rounds, planted) = how.split_once(' ').unwrap_or((how, ""));
    let rounds: u64 = rounds.parse().map_err(|_| Error::Arguments)?;
    // The window of a VM that never registers is disabled.
    let _armed = if planted == "list" { None } else { Some(arm(machine)?) };
    install();
    let (opening, closed) = entries(planted);
    let mut seen = Seen::default();
    for round in 0..rounds {
        for offset in [OPEN, CLOSE] {
            seen.stale += u64::from(enter(GATE + u64::from(offset)) != BREAKPOINT);
        }
        match enter(opening) {
            End::Returned(Status::OK) => {}
            End::Exception(_) => seen.stale += 1,
            End::Aborted | End::Returned(_) => seen.aborted += 1,
        }
        seen.open += u64::from(enter(closed) != End::Aborted);
        if (round + 1) % rounds.div_ceil(LINES) == 0 {
            say(round + 1, seen);
        }
    }
    say(rounds, seen);
    let Seen { aborted, stale, open } = seen;
    if seen == Seen::default() { Ok(()) } else { Err(Error::Processor { aborted, stale, open }) }
}

fn say(rounds: u64, seen: Seen) {
    println!("processor: {rounds} rounds, {} aborted, {} stale, {} open", seen.aborted, seen.stale, seen.open);
}

/// The addresses at which home enters the gate: at OPEN, and behind the check.
fn entries(planted: &str) -> (u64, u64) {
    let opening = alias::vmfunc_before(OPEN);
    let closed = alias::put(BEHIND_CHECK, &VMFUNC);
    if planted == "bytes" {
        alias::put(OPEN, &NOPS);
    }
    (opening, if planted == "open" { opening } else { closed })
}

fn enter(rip: u64) -> End {
    let mut state = State::at(rip);
    (state.general[RAX], state.general[RCX], state.general[RDI]) = (0, 1, 0);
    leap::leap(&state).end()
}
