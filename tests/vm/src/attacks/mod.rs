//! The list of attacks, what several of them need, and how an attack ends.

mod aborted;
mod alias;
mod chains;
mod changed;
mod cpu;
mod crossing;
mod debug;
mod debugged;
mod descriptors;
mod emulated;
mod exceptions;
mod home;
mod host;
mod hostile;
mod interrupts;
mod leap;
mod leftovers;
mod lives;
mod masked;
mod modes;
mod nmi;
mod numbered;
mod overrun;
mod page;
mod processor;
mod quarantine;
mod registers;
mod revoke;
mod ring;
mod rings;
mod row;
mod runs;
mod scribble;
mod segments;
mod snippet;
mod starts;
mod stepping;
mod sweep;
mod tables;
mod timer;
mod victim;
mod wrap;

use core::fmt;
use core::str::FromStr;
use sluice::{Gate, PacketMemory, PeerIdx, RingFormat, Status};
use sluice_abi::Gpa;
use sluice_abi::call::Packet;
use sluice_memory::PeerSlice;
use sluice_vnf::Vnf;

/// The number of turns that an attacker gives away first, so that the victim is ready.
const HEAD_START: usize = 4;

/// An attack: the first word of the arguments, which names it, and a function that takes the words behind that.
pub type Attack = (&'static str, fn(&mut Vnf, &str) -> Result<(), Error>);

/// The attacks of each file.
const LISTS: &[&[Attack]] = &[
    aborted::ATTACKS,
    chains::ATTACKS,
    changed::ATTACKS,
    debugged::ATTACKS,
    emulated::ATTACKS,
    exceptions::ATTACKS,
    home::ATTACKS,
    interrupts::ATTACKS,
    leftovers::ATTACKS,
    lives::ATTACKS,
    masked::ATTACKS,
    modes::ATTACKS,
    nmi::ATTACKS,
    numbered::ATTACKS,
    overrun::ATTACKS,
    processor::ATTACKS,
    quarantine::ATTACKS,
    registers::ATTACKS,
    revoke::ATTACKS,
    rings::ATTACKS,
    runs::ATTACKS,
    scribble::ATTACKS,
    starts::ATTACKS,
    stepping::ATTACKS,
    sweep::ATTACKS,
    tables::ATTACKS,
    timer::ATTACKS,
    victim::ATTACKS,
    wrap::ATTACKS,
    &[("rest", |_, _| Ok(()))],
];

/// Runs the attack that the arguments name.
pub fn run(machine: &mut Vnf) -> Result<(), Error> {
    let (word, how) = machine.args().split_once(' ').unwrap_or((machine.args(), ""));
    let found = LISTS.iter().copied().flatten().find(|(name, _)| *name == word);
    let (_, attack) = found.ok_or(Error::Arguments)?;
    attack(machine, how)
}

/// Returns the number that `word` is.
fn number<T: FromStr>(word: &str) -> Result<T, Error> {
    word.parse().map_err(|_| Error::Arguments)
}

/// Returns the format of rings that `word` names.
fn format(word: &str) -> Result<RingFormat, Error> {
    RingFormat::from_name(word).ok_or(Error::Arguments)
}

/// Returns a format of rings, and a number.
fn format_and_number(words: &str) -> Result<(RingFormat, u64), Error> {
    let (ring, times) = words.split_once(' ').ok_or(Error::Arguments)?;
    Ok((format(ring)?, number(times)?))
}

/// Returns three numbers.
fn three_numbers(words: &str) -> Result<(u64, u64, u64), Error> {
    let mut words = words.split(' ');
    let mut next = || number(words.next().unwrap_or_default());
    Ok((next()?, next()?, next()?))
}

/// Registers with the host, and gives the victim time to get ready.
pub fn prepare(machine: &mut Vnf) -> Result<(Gate, PacketMemory), Error> {
    let parts = machine.connect()?;
    // The memory is given out once. A second access to it would be unsound.
    if machine.connect().is_ok() {
        return Err(Error::NotStopped(parts.1.gpa.0));
    }
    (0..HEAD_START).for_each(|_| machine.yield_now());
    Ok(parts)
}

/// An attacker that is registered.
pub struct Armed {
    pub gate: Gate,
    pub own: PacketMemory,
    pub request: PeerSlice<'static>,
}

/// Registers as [`prepare`] does, and returns what a call without the stub needs.
pub fn register(machine: &mut Vnf) -> Result<Armed, Error> {
    let (access, own) = machine.setup().map_err(sluice_vnf::Error::Setup)?;
    let request = access.request();
    let gate = Gate::discover(access).map_err(sluice_vnf::Error::Gate)?;
    (0..HEAD_START).for_each(|_| machine.yield_now());
    Ok(Armed { gate, own, request })
}

/// Registers as [`register`] does, and installs landings and a page of the VM's own at the gate's address.
pub fn arm(machine: &mut Vnf) -> Result<Armed, Error> {
    let armed = register(machine)?;
    install();
    Ok(armed)
}

/// Installs landings, and a page of the VM's own at the gate's address.
pub fn install() {
    descriptors::install();
    alias::install();
}

/// Puts one packet for the first peer into the request block.
pub fn ask_one(armed: &Armed) -> Result<(), Error> {
    armed.request.write(0, Packet::new(64, 64, PeerIdx(0))).map_err(|_| Error::Arguments)
}

/// Registers the same request block again, with the CR3 that is in force now.
pub fn register_again(armed: &Armed) -> Result<(), Error> {
    match host::register(Gpa(armed.request.as_ptr().addr() as u64)) {
        Status::OK => Ok(()),
        status => Err(Error::NotStopped(status.0)),
    }
}

/// Why an attack ended early, or failed to be stopped.
pub enum Error {
    /// There is no such attack.
    Arguments,
    /// The VNF could not start.
    Machine(sluice_vnf::Error),
    /// The given number of words of the victim's memory changed.
    Harmed(usize),
    /// The other side went on, or made this side wait, for longer than a test lasts.
    Endless,
    /// The attack was not stopped. The value is what it read.
    NotStopped(u64),
    /// An entry at byte `offset` of the gate page came out elsewhere than it should.
    Landed { offset: u16, vector: u64 },
    /// The gate can't rely on this processor. The values count aborted calls, stale bytes and open windows.
    Processor { aborted: u64, stale: u64, open: u64 },
    /// A register, by its number (16: a vector register), has a value that it should not have.
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
            Self::Arguments => write!(f, "arguments: victim, or an attack; see tests/vm/src/attacks"),
            Self::Machine(error) => error.fmt(f),
            Self::Harmed(words) => write!(f, "{words} words changed"),
            Self::Processor { aborted, stale, open } => {
                write!(
                    f,
                    "do not use this processor: {aborted} calls aborted, {stale} stale bytes, {open} windows open"
                )
            }
            Self::Endless => write!(f, "the other side does not end, or nothing comes from it"),
            Self::NotStopped(value) => write!(f, "the attack was not stopped; it read {value:#x}"),
            Self::Leaked { register, value } => write!(f, "register {register} came back with {value:#x}"),
            Self::Landed { offset, vector } => write!(f, "entry at byte {offset:#x} ended in exception {vector}"),
        }
    }
}
