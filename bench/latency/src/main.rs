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
mod wakeups;

use core::fmt;
use options::{BadArgument, Options};
use sluice_vnf::Vnf;

sluice_vnf::main!(run);

fn run(vnf: &mut Vnf) -> Result<(), Error> {
    let args = vnf.args();
    match Options::parse(args).map_err(Error::Argument)? {
        Options::Receive => receive::receive(vnf),
        Options::Calls(options) => calls::calls(vnf, &options),
        Options::Expiries(options) => expiries::expiries(vnf, &options),
        Options::Pings(options) => wakeups::send(vnf, options),
        Options::Wakeups(rest) => wakeups::receive(vnf, rest),
    }
}

/// Why it ended early.
enum Error {
    Argument(BadArgument<'static>),
    Vnf(sluice_vnf::Error),
    /// The host has no timer for VMs.
    NoTimer,
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
            Self::NoTimer => write!(f, "this host has no timer for VMs"),
        }
    }
}
