//! Which attacks there are, and how one ends.

use crate::{alias, home, leap, sweep, victim};
use core::fmt;
use sluice::{Gate, PacketMemory};
use sluice_abi::Gpa;
use sluice_gate::hypercall;
use sluice_runtime::Machine;

/// Turns that the attacker gives away first, so that the victim is ready.
const HEAD_START: usize = 4;

pub fn run(machine: &mut Machine) -> Result<(), Error> {
    let mut words = machine.args().split_whitespace();
    match (words.next(), words.next().and_then(|number| number.parse().ok())) {
        (Some("victim"), _) => victim::watch(machine),
        (Some("read"), _) => home::read(machine),
        (Some("write"), _) => home::write(machine),
        (Some("vmfunc"), Some(view)) => home::vmfunc(machine, view),
        (Some("sweep"), _) => sweep::sweep(machine),
        _ => Err(Error::Arguments),
    }
}

/// Registers with the host, and lets the victim get ready.
pub fn prepare(machine: &mut Machine) -> Result<(Gate, PacketMemory), Error> {
    let parts = machine.connect()?;
    (0..HEAD_START).for_each(|_| machine.yield_now());
    Ok(parts)
}

/// The same, with landings and a page of the VM's own at the gate's address.
pub fn arm(machine: &mut Machine) -> Result<PacketMemory, Error> {
    let (_, own) = prepare(machine)?;
    leap::install();
    alias::install();
    Ok(own)
}

/// One exit from home, at which the monitor looks at the EPTP list.
#[allow(unsafe_code, reason = "a hypercall")]
pub fn exit_once() {
    // SAFETY: under a Sluice host, in ring 0; no byte is printed.
    unsafe { hypercall::console(Gpa(0), 0) };
}

/// Why a test image ended.
pub enum Error {
    /// There is no such attack.
    Arguments,
    /// It could not start.
    Machine(sluice_runtime::Error),
    /// The victim's memory changed, so many words.
    Harmed(usize),
    /// The attacker went on for longer than the victim waits.
    Endless,
    /// The attack went through.
    NotStopped(u64),
    /// An entry at byte `offset` came out of the gate elsewhere than it should.
    Landed { offset: u16, vector: u64 },
}

impl From<sluice_runtime::Error> for Error {
    fn from(error: sluice_runtime::Error) -> Self {
        Self::Machine(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments => write!(f, "arguments: victim, or an attack; see tests/vm/src/attack.rs"),
            Self::Machine(error) => error.fmt(f),
            Self::Harmed(words) => write!(f, "{words} words changed"),
            Self::Endless => write!(f, "the attacker does not end"),
            Self::NotStopped(value) => write!(f, "the attack was not stopped; it saw {value:#x}"),
            Self::Landed { offset, vector } => write!(f, "entry at byte {offset:#x} ended in exception {vector}"),
        }
    }
}
