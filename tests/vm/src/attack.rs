//! Which attacks there are, and how one ends.

use crate::{
    aborted, alias, chains, debugged, descriptors, emulated, exceptions, home, interrupts, leftovers, lives, masked,
    modes, nmi, numbered, overrun, processor, quarantine, registers, revoke, rings, runs, scribble, starts, stepping,
    sweep, tables, timer, victim, wrap,
};
use core::fmt;
use sluice::{Gate, PacketMemory, PeerIdx, RingFormat, Status};
use sluice_abi::Gpa;
use sluice_abi::call::Packet;
use sluice_gate::hypercall;
use sluice_memory::PeerSlice;
use sluice_vnf::Vnf;

/// Turns that the attacker gives away first, so that the victim is ready.
const HEAD_START: usize = 4;

pub fn run(machine: &mut Vnf) -> Result<(), Error> {
    let (attack, how) = machine.args().split_once(' ').unwrap_or((machine.args(), ""));
    match attack {
        "victim" => victim::watch(machine),
        "receive" => numbered::receive(machine, RingFormat::from_name(how).ok_or(Error::Arguments)?),
        "chains" => chains::receive(machine),
        "scribble" => scribble::receiver(machine, RingFormat::from_name(how).ok_or(Error::Arguments)?),
        "send" => scribble::sender(machine),
        "revoke" => {
            let (format, times) = ring_and_number(how).ok_or(Error::Arguments)?;
            revoke::receiver(machine, format, times)
        }
        "lives" => {
            let (format, times) = ring_and_number(how).ok_or(Error::Arguments)?;
            lives::receiver(machine, format, times)
        }
        "again" => lives::again(machine, how.parse().map_err(|_| Error::Arguments)?),
        "persist" => lives::sender(machine),
        "insist" => revoke::sender(machine, how.parse().map_err(|_| Error::Arguments)?),
        "misbehave" => quarantine::receiver(machine, RingFormat::from_name(how).ok_or(Error::Arguments)?),
        "forgive" => quarantine::sender(machine),
        "reset" => nmi::receiver(machine, RingFormat::from_name(how).ok_or(Error::Arguments)?),
        "nmi" => nmi::sender(machine),
        "both" => revoke::both(machine, how.parse().map_err(|_| Error::Arguments)?),
        "stray" => runs::stray(machine, RingFormat::from_name(how).ok_or(Error::Arguments)?),
        "meet" => runs::meet(machine),
        "move" => {
            let (format, times) = ring_and_number(how).ok_or(Error::Arguments)?;
            runs::receiver(machine, format, times)
        }
        "pull" => {
            let (format, times) = ring_and_number(how).ok_or(Error::Arguments)?;
            runs::pulled(machine, format, times)
        }
        "bear" => runs::bear(machine, how.parse().map_err(|_| Error::Arguments)?),
        "hop" => runs::sender(machine, how.parse().map_err(|_| Error::Arguments)?),
        "refused" => runs::refused(machine),
        "leftovers" => leftovers::compare(machine, how.parse().map_err(|_| Error::Arguments)?),
        "read" => home::read(machine),
        "write" => home::write(machine),
        "overflow" => home::overflow(machine),
        "view" => home::vmfunc(machine, how.parse().map_err(|_| Error::Arguments)?),
        "vmfunc" => rings::vmfunc(machine, three(how).ok_or(Error::Arguments)?),
        "rings" => rings::call(machine),
        "hypercalls" => rings::hypercalls(machine),
        "x87" => registers::x87(machine),
        "sti" => registers::sti(machine),
        "good" | "bad" => starts::receiver(machine, attack == "bad", how.parse().map_err(|_| Error::Arguments)?, 0),
        "worse" => starts::receiver(machine, true, how.parse().map_err(|_| Error::Arguments)?, starts::SEEN),
        "call" => starts::sender(machine, how.parse().map_err(|_| Error::Arguments)?),
        "print" => {
            let (times, len) = how.split_once(' ').ok_or(Error::Arguments)?;
            let len = len.parse().map_err(|_| Error::Arguments)?;
            starts::printer(machine, times.parse().map_err(|_| Error::Arguments)?, len)
        }
        "sweep" => sweep::sweep(machine),
        "unregistered" => sweep::unregistered(machine),
        "stepped" => sweep::stepped(machine),
        "step" => stepping::step(machine),
        "timer" => timer::run_out(machine),
        "interrupts" => interrupts::each(machine),
        "stacks" => registers::stacks(machine),
        "flags" => registers::flags(machine),
        "bases" => registers::bases(machine),
        "tables" => tables::own(machine),
        "anew" => tables::anew(machine),
        "forged" => tables::forged(machine, how),
        "watch" => exceptions::watch(machine),
        "descriptors" => exceptions::descriptor_tables(machine),
        "ts" => exceptions::task_switched(machine),
        "overrun" => overrun::overrun(machine),
        "emulated" => emulated::by_a_program(machine),
        "ends" => wrap::at_the_ends(machine),
        "aborted" => aborted::of_a_program(machine),
        "debugged" => debugged::debugged(machine),
        "masked" => masked::expire(machine),
        "modes" => modes::change(machine),
        "processor" => processor::check(machine, how),
        "rest" => Ok(()),
        _ => Err(Error::Arguments),
    }
}

fn ring_and_number(words: &str) -> Option<(RingFormat, u64)> {
    let (ring, number) = words.split_once(' ')?;
    Some((RingFormat::from_name(ring)?, number.parse().ok()?))
}

fn three(numbers: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = numbers.split(' ').map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?, numbers.next()?))
}

/// Registers with the host, and lets the victim get ready.
pub fn prepare(machine: &mut Vnf) -> Result<(Gate, PacketMemory), Error> {
    let parts = machine.connect()?;
    // Its memory is given to nobody else, itself included.
    if machine.connect().is_ok() {
        return Err(Error::NotStopped(parts.1.gpa.0));
    }
    (0..HEAD_START).for_each(|_| machine.yield_now());
    Ok(parts)
}

/// What an attacker has once it is registered.
pub struct Armed {
    pub gate: Gate,
    pub own: PacketMemory,
    pub request: PeerSlice<'static>,
}

/// The same, with what a call by hand needs.
pub fn register(machine: &mut Vnf) -> Result<Armed, Error> {
    let (access, own) = machine.setup().map_err(sluice_vnf::Error::Setup)?;
    let request = access.request();
    let gate = Gate::discover(access).map_err(sluice_vnf::Error::Gate)?;
    (0..HEAD_START).for_each(|_| machine.yield_now());
    Ok(Armed { gate, own, request })
}

/// The same, with landings and a page of the VM's own at the gate's address.
pub fn arm(machine: &mut Vnf) -> Result<Armed, Error> {
    let armed = register(machine)?;
    install();
    Ok(armed)
}

/// Landings, and a page of the VM's own at the gate's address.
pub fn install() {
    descriptors::install();
    alias::install();
}

/// Puts one packet for the first peer into the request block.
pub fn ask_one(armed: &Armed) -> Result<(), Error> {
    armed.request.write(0, Packet::new(64, 64, PeerIdx(0))).map_err(|_| Error::Arguments)
}

/// Registers what is registered, with the CR3 that is in force now.
#[allow(unsafe_code, reason = "a hypercall")]
pub fn register_again(armed: &Armed) -> Result<(), Error> {
    let request = Gpa(armed.request.as_ptr().addr() as u64);
    // SAFETY: under a Sluice host, in ring 0; both were given before.
    match unsafe { hypercall::register(request) } {
        Status::OK => Ok(()),
        status => Err(Error::NotStopped(status.0)),
    }
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
    Machine(sluice_vnf::Error),
    /// The victim's memory changed, so many words.
    Harmed(usize),
    /// The other side went on, or let wait, for longer than this one waits.
    Endless,
    /// The attack went through.
    NotStopped(u64),
    /// An entry at byte `offset` came out of the gate elsewhere than it should.
    Landed { offset: u16, vector: u64 },
    /// The processor is none that the gate can rely on: so many calls aborted, stale bytes, windows open.
    Processor { aborted: u64, stale: u64, open: u64 },
    /// A register, by number (16: a vector register), has what it shouldn't.
    Leaked { register: usize, value: u64 },
}

impl From<sluice_vnf::Error> for Error {
    fn from(error: sluice_vnf::Error) -> Self {
        Self::Machine(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments => write!(f, "arguments: victim, or an attack; see tests/vm/src/attack.rs"),
            Self::Machine(error) => error.fmt(f),
            Self::Harmed(words) => write!(f, "{words} words changed"),
            Self::Processor { aborted, stale, open } => {
                write!(
                    f,
                    "do not use this processor: {aborted} calls aborted, {stale} stale bytes, {open} windows open"
                )
            }
            Self::Endless => write!(f, "the other side does not end, or nothing comes from it"),
            Self::NotStopped(value) => write!(f, "the attack was not stopped; it saw {value:#x}"),
            Self::Leaked { register, value } => write!(f, "register {register} came back with {value:#x}"),
            Self::Landed { offset, vector } => write!(f, "entry at byte {offset:#x} ended in exception {vector}"),
        }
    }
}
