//! Measures the cost of a packet: one machine sends bursts through a gate, another checks every frame.
//!
//! Arguments: `receive [ring=split|in-order|packed] [measure]`, or `send [to=NAME] [packets=N] [bursts=N,N,..]
//! [frames=N,imix,..]` for a table of rows, or `proof N [to=NAME] [burst=N] [frame=N]` for N packets in a row with the
//! exits between the first and the last.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod frame;
#[path = "../../src/imix.rs"]
mod imix;
mod options;
mod receive;
mod send;
mod tally;

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
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Argument(BadArgument<'static>),
    #[error(transparent)]
    Vnf(#[from] sluice_vnf::Error),
    #[error("frames were lost, doubled, torn or reordered")]
    Dirty,
}
