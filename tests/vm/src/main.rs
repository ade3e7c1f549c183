//! A VM that breaks the rules, and its victim.
//!
//! Arguments: `read`, `write` (peer memory, in home), `vmfunc N` (view N, from a page of the VM's own), or `victim`.
//! Attacker and victim are the same image with the same RAM, so each knows the other's addresses.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod attack;
mod victim;

use core::fmt;
use sluice_runtime::Machine;

sluice_runtime::entry!(run);

/// Turns that the attacker gives away first, so that the victim is ready.
const HEAD_START: usize = 4;

fn run(machine: &mut Machine) -> Result<(), Error> {
    let mut words = machine.args().split_whitespace();
    match (words.next(), words.next().and_then(|number| number.parse().ok())) {
        (Some("victim"), _) => victim::watch(machine),
        (Some("read"), _) => attack::read(machine),
        (Some("write"), _) => attack::write(machine),
        (Some("vmfunc"), Some(view)) => attack::vmfunc(machine, view),
        _ => Err(Error::Arguments),
    }
}

/// Why a test image ended.
pub enum Error {
    /// Not one of the arguments above.
    Arguments,
    /// It could not start.
    Machine(sluice_runtime::Error),
    /// The victim's memory changed, so many words.
    Harmed(usize),
    /// The attack went through.
    NotStopped(u64),
}

impl From<sluice_runtime::Error> for Error {
    fn from(error: sluice_runtime::Error) -> Self {
        Self::Machine(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments => write!(f, "arguments: read, write, vmfunc N, or victim"),
            Self::Machine(error) => error.fmt(f),
            Self::Harmed(words) => write!(f, "{words} words changed"),
            Self::NotStopped(value) => write!(f, "the attack was not stopped; it saw {value:#x}"),
        }
    }
}
