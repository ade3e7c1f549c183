//! What a packet costs: one machine sends bursts through a gate, another checks every frame.
//!
//! Arguments: `receive`, or `send [to=NAME] [packets=N] [bursts=N,N,..] [frames=N,N,..]` for a table of rows, or
//! `proof N [..]` for N packets in a row with the exits between the first and the last.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod frame;
mod options;
mod receive;
mod row;
mod send;
mod tally;

use core::fmt;
use options::{BadArgument, Options};
use sluice::{GateError, Status, VirtioNetError};
use sluice_runtime::{Machine, SetupError};

sluice_runtime::entry!(run);

fn run(machine: &mut Machine) -> Result<(), Error> {
    let args = machine.args();
    match Options::parse(args).map_err(Error::Argument)? {
        Options::Send(sweep) => send::sweep(machine, &sweep),
        Options::Proof(proof) => send::proof(machine, &proof),
        Options::Receive => receive::receive(machine),
    }
}

/// Why the benchmark ended early.
enum Error {
    Argument(BadArgument<'static>),
    Setup(SetupError),
    Gate(GateError),
    Net(VirtioNetError),
    /// No peer of that name.
    NoPeer(&'static str),
    /// The peer went away or was refused.
    Send(Status),
    /// Frames were lost, doubled, torn or out of order.
    Dirty,
    /// No buffer where there must be one.
    NoBuffer,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => error.fmt(f),
            Self::Setup(error) => error.fmt(f),
            Self::Gate(error) => error.fmt(f),
            Self::Net(error) => error.fmt(f),
            Self::NoPeer(name) => write!(f, "peer {name:?}: not in the window directory"),
            Self::Send(status) => write!(f, "the gate refused packets: {status:?}"),
            Self::Dirty => write!(f, "frames were lost, doubled, torn or reordered"),
            Self::NoBuffer => write!(f, "the pool is empty"),
        }
    }
}
