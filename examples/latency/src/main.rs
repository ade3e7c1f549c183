//! How long each single call takes, and how long a timer's interrupt waits for calls.
//!
//! Arguments: `receive`, or `calls [count=N] [bursts=N,N,..] [frames=N,N,..]` for the spread of N calls of each kind, or
//! `expiries [count=N] [period=N] [load=idle|busy|each|BURSTxFRAME]` for the time from a timer's expiry to its handler: while the VM sleeps, while it
//! is in a loop, while it sends such bursts, or with an expiry at each instruction of a call in turn.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod calls;
mod expiries;
mod options;
mod receive;
mod sender;
mod spread;
#[cfg(target_os = "none")]
mod stub;

use core::fmt;
use options::{BadArgument, Options};
use sluice_runtime::Machine;

sluice_runtime::entry!(run);

fn run(machine: &mut Machine) -> Result<(), Error> {
    let args = machine.args();
    match Options::parse(args).map_err(Error::Argument)? {
        Options::Receive => receive::receive(machine),
        Options::Calls(options) => calls::calls(machine, &options),
        Options::Expiries(options) => expiries::expiries(machine, &options),
    }
}

/// Why it ended early.
enum Error {
    Argument(BadArgument<'static>),
    Machine(sluice_runtime::Error),
    /// The host has no timer for VMs.
    NoTimer,
}

impl From<sluice_runtime::Error> for Error {
    fn from(error: sluice_runtime::Error) -> Self {
        Self::Machine(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => error.fmt(f),
            Self::Machine(error) => error.fmt(f),
            Self::NoTimer => write!(f, "this host has no timer for VMs"),
        }
    }
}
