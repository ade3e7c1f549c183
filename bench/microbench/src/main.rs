//! What a packet costs: one machine sends bursts through a gate, another checks every frame.
//!
//! Arguments: `receive [ring=split|in-order|packed] [measure]`, or `send [to=NAME] [packets=N] [bursts=N,N,..] [frames=N,imix,..]` for a table of rows, or
//! `proof N [to=NAME] [burst=N] [frame=N]` for N packets in a row with the exits between the first and the last.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod frame;
#[path = "../../src/imix.rs"]
mod imix;
mod options;
mod receive;
mod row;
mod send;
mod tally;

use core::fmt;
use options::{BadArgument, Options};
use sluice_vnf::Vnf;

sluice_vnf::main!(run);

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let args = vnf.args();
    match Options::parse(args).map_err(Error::Argument)? {
        Options::Send(sweep) => send::sweep(vnf, &sweep),
        Options::Proof(proof) => send::proof(vnf, &proof),
        Options::Receive(arrivals) => receive::receive(vnf, arrivals),
    }
}

/// Why the benchmark ended early.
enum Error {
    Argument(BadArgument<'static>),
    Vnf(sluice_vnf::Error),
    /// Frames were lost, doubled, torn or out of order.
    Dirty,
}

impl From<sluice_vnf::Error> for Error {
    fn from(error: sluice_vnf::Error) -> Self {
        Self::Vnf(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(error) => error.fmt(f),
            Self::Vnf(error) => error.fmt(f),
            Self::Dirty => write!(f, "frames were lost, doubled, torn or reordered"),
        }
    }
}
