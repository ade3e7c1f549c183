//! The command `run`: a server from its policy to its end.

use crate::policy::Policy;
use crate::server::Server;
use crate::signals::Signals;
use crate::systemd::Handed;
use crate::{Failure, log};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tracing::{Level, info, warn};

/// What `run` is told.
#[derive(Args)]
pub struct Options {
    /// The policy, a TOML file: see docs/interfaces.md
    policy: PathBuf,
    /// Least level of what is logged to standard error: error, warn, info, debug
    #[arg(long, default_value = "info")]
    log: Level,
    /// Whether the server gives up what it does not need, before the first front-end connects
    ///
    /// With `on` it is left the system calls that it makes (by seccomp; any other one ends it), and these files (by
    /// landlock): the folders of its sockets, for captures too; the captures that the policy names at the start; the
    /// policy's folder, for reading. The first lines of the log say what of that the kernel keeps. `off` is for a
    /// system whose C library makes other calls: such a server ends by SIGSYS
    #[arg(long, default_value = "on", value_name = "ON|OFF")]
    sandbox: Choice,
    /// A folder to which a policy that is read later may write captures, or put sockets. May be given again
    #[arg(long, value_name = "FOLDER")]
    writes: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    On,
    Off,
}

/// Serves until a signal says to end.
pub fn run(options: &Options) -> Result<(), Failure> {
    let policy = Policy::read(&options.policy)?;
    let handed = Handed::take()?;
    let signals = Signals::catch()?;
    let mut server = Server::new(&options.policy, policy, handed)?;
    if options.sandbox == Choice::On {
        server.enter_sandbox(&options.writes)?;
    }
    // The log's thread is in the sandbox, too, as nothing restricts the files of threads that are there.
    let (stderr, guard) = log::begin()?;
    tracing_subscriber::fmt().with_max_level(options.log).with_ansi(false).with_writer(stderr.clone()).init();
    match server.sandbox() {
        Some(sandbox) => sandbox.log(),
        None => warn!("sandbox: off, as the command line says"),
    }
    info!("serves {}", options.policy.display());
    let done = server.run(&signals);
    drop(server);
    log::end(guard);
    Ok(done?)
}
