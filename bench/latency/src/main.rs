//! Measures each single call, and the time that a timer's interrupt waits for calls.
//!
//! Arguments: `receive`, or `calls [count=N] [bursts=N,N,..] [frames=N,N,..]` for the spread of N calls of each kind,
//! or `expiries [count=N] [period=N] [load=idle|busy|each|BURSTxFRAME]` for the time from a timer's expiry to its
//! handler: while the VM sleeps, while it is in a loop, while it sends such bursts, or with an expiry at each
//! instruction of a call in turn. `pings [count=N] [gap=TICKS] [jitter=TICKS] [via=window|switch]` and `wakeups
//! [rest=poll|sleep] [via=window|switch] [longest=MILLISECONDS] [jitter=TICKS]` are the two ends of a measurement of
//! how long a frame waits for who has nothing to do.
#![cfg_attr(target_os = "none", no_std, no_main)]

mod calls;
mod expiries;
mod options;
mod receive;
mod sender;
mod spread;
mod wakeups;

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
        Options::Wakeups(options) => wakeups::receive(vnf, options),
    }
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Argument(BadArgument<'static>),
    #[error(transparent)]
    Vnf(#[from] sluice_vnf::Error),
    #[error("this host has no timer for VMs")]
    NoTimer,
}
