//! Which attacks there are, and how one ends.

use crate::{alias, home, leap, numbered, stepping, sweep, victim};
use core::fmt;
use sluice::{Gate, PacketMemory, RingFormat};
use sluice_abi::Gpa;
use sluice_gate::hypercall;
use sluice_memory::PeerSlice;
use sluice_runtime::Machine;

/// Turns that the attacker gives away first, so that the victim is ready.
const HEAD_START: usize = 4;

pub fn run(machine: &mut Machine) -> Result<(), Error> {
    let mut words = machine.args().split_whitespace();
    let (attack, how) = (words.next(), words.next().unwrap_or(""));
    match (attack, how.parse().ok()) {
        (Some("victim"), _) => victim::watch(machine),
        (Some("receive"), _) => numbered::receive(machine, RingFormat::from_name(how).ok_or(Error::Arguments)?),
        (Some("read"), _) => home::read(machine),
        (Some("write"), _) => home::write(machine),
        (Some("vmfunc"), Some(view)) => home::vmfunc(machine, view),
        (Some("sweep"), _) => sweep::sweep(machine),
        (Some("step"), _) => stepping::step(machine),
        _ => Err(Error::Arguments),
    }
}

/// Registers with the host, and lets the victim get ready.
pub fn prepare(machine: &mut Machine) -> Result<(Gate, PacketMemory), Error> {
    let parts = machine.connect()?;
    (0..HEAD_START).for_each(|_| machine.yield_now());
    Ok(parts)
}

/// What an attacker has once it is registered.
pub struct Armed {
    pub gate: Gate,
    pub own: PacketMemory,
    pub request: PeerSlice<'static>,
}

/// The same, with landings and a page of the VM's own at the gate's address.
#[allow(unsafe_code, reason = "as Machine::connect")]
pub fn arm(machine: &mut Machine) -> Result<Armed, Error> {
    let (access, own) = machine.setup().map_err(sluice_runtime::Error::Setup)?;
    // SAFETY: the host just gave this access; all else that refers to the memory are PeerSlices.
    let gate = unsafe { Gate::discover(access) }.map_err(sluice_runtime::Error::Gate)?;
    (0..HEAD_START).for_each(|_| machine.yield_now());
    leap::install();
    alias::install();
    Ok(Armed { gate, own, request: access.request })
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
    /// A register, by number (16: a vector register), has what it shouldn't.
    Leaked { register: usize, value: u64 },
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
            Self::Leaked { register, value } => write!(f, "register {register} came back with {value:#x}"),
            Self::Landed { offset, vector } => write!(f, "entry at byte {offset:#x} ended in exception {vector}"),
        }
    }
}
