//! What a packet costs: one machine sends bursts through a gate, another checks every frame.
//!
//! Arguments: `receive [ring=split|in-order|packed]`, or `send [to=NAME] [packets=N] [bursts=N,N,..] [frames=N,N,..]` for a table of rows, or
//! `proof N [to=NAME] [burst=N] [frame=N]` for N packets in a row with the exits between the first and the last.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod frame;
mod options;
mod receive;
mod row;
mod send;
mod tally;

use core::fmt;
use options::{BadArgument, Options};
use sluice_runtime::Machine;

sluice_runtime::entry!(run);

fn run(machine: &mut Machine) -> Result<(), Error> {
    let args = machine.args();
    match Options::parse(args).map_err(Error::Argument)? {
        Options::Send(sweep) => send::sweep(machine, &sweep),
        Options::Proof(proof) => send::proof(machine, &proof),
        Options::Receive(ring) => receive::receive(machine, ring),
    }
}

/// Why the benchmark ended early.
enum Error {
    Argument(BadArgument<'static>),
    Machine(sluice_runtime::Error),
    /// Frames were lost, doubled, torn or out of order.
    Dirty,
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
            Self::Dirty => write!(f, "frames were lost, doubled, torn or reordered"),
        }
    }
}
