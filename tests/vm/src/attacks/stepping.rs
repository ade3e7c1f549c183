//! A15, A17, A20: a call that is interrupted at every instruction of the crossing, one after the other.
//!
//! A breakpoint on one byte of gate page, window page or window code aborts the call where that instruction comes
//! first. The packets that the monitor then reports as accepted count as sent, and all others are sent again. The
//! receiver finds out whether that was true.

use super::crossing;
use super::debug::{self, On};
use super::leap::{GATE, RETURN, State};
use super::numbered::NumberedSender;
use super::{Error, install, register};
use sluice::BURST_SIZE;
use sluice_abi::map;
use sluice_gate::{OPEN, STUB_ABORT};
use sluice_vnf::{Vnf, clock, println};

/// The attacks of this file.
pub const ATTACKS: &[super::Attack] = &[("step", |machine, _| step(machine))];

/// The kinds of calls: the number of frames, and whether they have headers.
const CALLS: [(u64, bool); 4] = [(0, false), (3, false), (3, true), (BURST_SIZE as u64, false)];

/// Makes each kind of call with a breakpoint at every byte.
fn step(machine: &mut Vnf) -> Result<(), Error> {
    let armed = register(machine)?;
    machine.wait_for_peer(&armed.gate, None)?;
    install();
    let mut sender = NumberedSender::new(armed.own, armed.request);
    let mut aborted = 0;
    for (count, headers) in CALLS {
        let mut calls = Calls {
            machine,
            sender: &mut sender,
            state: crossing::proper(count),
            count,
            headers,
            aborted,
            slowest: (0, 0),
        };
        let instructions = calls.in_pages()? + calls.in_code()?;
        aborted = calls.aborted;
        let kind = if headers { " with headers" } else { "" };
        println!("burst of {count}{kind}: {instructions} instructions");
        println!("slowest {count}{kind}: {} ticks, aborted {}", calls.slowest.0, calls.slowest.1);
    }
    println!("stepping: {aborted} aborted, {} sent", sender.sent);
    sender.finish(machine)
}

/// The calls of one kind.
struct Calls<'a> {
    machine: &'a Vnf,
    sender: &'a mut NumberedSender,
    state: State,
    count: u64,
    headers: bool,
    /// The number of calls aborted so far, of all kinds.
    aborted: u64,
    /// The ticks of the longest calls: of those that went through, and of those that were aborted.
    slowest: (u64, u64),
}

impl Calls<'_> {
    /// Counts the instructions of gate page and window page at which a breakpoint aborts the call.
    fn in_pages(&mut self) -> Result<u64, Error> {
        let bytes = GATE + u64::from(OPEN)..GATE + u64::from(STUB_ABORT);
        self.at_each(bytes.filter(|&at| at != RETURN))
    }

    /// Does the same for the window code. Most of its bytes begin no instruction: four breakpoints at a time find the
    /// ones that may.
    fn in_code(&mut self) -> Result<u64, Error> {
        let code = map::SLOT_VA + map::CODE;
        let mut instructions = 0;
        for four in (code..code + map::CODE_LEN / 4).step_by(4) {
            if self.stopped(|| debug::set_four(four))? {
                instructions += self.at_each(four..four + 4)?;
            }
        }
        Ok(instructions)
    }

    fn at_each(&mut self, bytes: impl Iterator<Item = u64>) -> Result<u64, Error> {
        let mut instructions = 0;
        for at in bytes {
            instructions += u64::from(self.stopped(|| debug::set(at, On::Execution))?);
        }
        Ok(instructions)
    }

    /// Makes calls with the breakpoints that `set` sets, and returns whether one of them aborted the call. Of the call
    /// all or nothing was delivered.
    fn stopped(&mut self, set: impl FnOnce()) -> Result<bool, Error> {
        self.sender.make_room(self.machine, self.count);
        self.sender.ask(self.count, self.headers)?;
        set();
        let before = clock::now();
        let landing = crossing::checked(self.state);
        let took = clock::now() - before;
        debug::clear();
        let stopped = self.sender.note_whole(&landing?, self.count)?;
        self.aborted += u64::from(stopped);
        let slowest = if stopped { &mut self.slowest.1 } else { &mut self.slowest.0 };
        *slowest = took.max(*slowest);
        Ok(stopped)
    }
}
