//! `sluiced`: the device side of many virtual machines' network devices, for QEMU and for DPDK, connected by a learning
//! switch. Each VM of a policy file has a vhost-user socket.
//!
//! Reading order: [`policy`] (who may connect, and send to whom), [`run`] (from start to end), [`server`] (the one
//! thread), `connection` and `process` (who is connected), `tap` (a port to the host's network), `ports` and `rings`
//! (all of them, as the switch sees them), `windows` and `server/windows.rs` (processes that send by themselves),
//! `channels` (shared memory that is handed out), `sockets`, `control` and `status` (what a running server is asked),
//! `client` and `prometheus` (who asks), `sandbox` (what it gives up), `systemd`, `captures`, `signals`, `log`.

mod captures;
mod channels;
mod client;
mod connection;
mod control;
mod log;
mod offered;
mod policy;
mod ports;
mod process;
mod prometheus;
mod queue_lock;
mod rings;
mod run;
mod sandbox;
mod server;
mod signals;
mod sockets;
mod status;
mod systemd;
mod tap;
mod window_file;
mod windows;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use client::{ClientError, Format};
use policy::{Policy, PolicyError};
use server::ServerError;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A network for virtual machines: a vhost-user socket for each VM of a policy file, and a learning switch between.
///
/// Each VM sends to those alone that its `lan` names, and from its own address alone; the server copies every frame. A
/// process with `peers` puts frames into their queues by itself, and can write all of their memory. A channel is shared
/// memory that the server hands out: to one writer, and to readers.
#[derive(Parser)]
#[command(
    name = "sluiced",
    version,
    after_help = "Exit codes:
  0  done; the server ended as asked (SIGINT, SIGTERM, SIGQUIT)
  1  failed: a folder, a socket, a file, or the system
  2  wrong command line
  3  the policy is refused
  4  no server answers at the control socket

A policy, and how to use it:
  [server]
  folder = \"/tmp/lan\"

  [[vm]]
  name = \"a\"
  mac = \"52:54:00:00:00:01\"
  lan = [\"b\"]

  [[vm]]
  name = \"b\"
  mac = \"52:54:00:00:00:02\"
  lan = [\"a\"]

  sluiced check lan.toml
  sluiced run lan.toml
  sluiced status --control /tmp/lan/control.sock

A front-end of VM a connects to /tmp/lan/a.sock. docs/operations.md has the command lines of front-ends."
)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the VMs of a policy file until a signal says to end. SIGHUP reads the file again
    Run(run::Options),
    /// Say what a policy file means, or which line is wrong
    Check {
        /// The policy, a TOML file: see docs/interfaces.md
        policy: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what a running server does: who is connected, frames, bytes, and drops by cause
    Status {
        #[command(flatten)]
        server: ControlSocket,
        /// Print JSON, a line each time
        #[arg(long)]
        json: bool,
        /// Print metrics, for the textfile collector of Prometheus' node_exporter
        #[arg(long, conflicts_with_all = ["json", "watch"])]
        prometheus: bool,
        /// Print it each second, with rates
        #[arg(long)]
        watch: bool,
    },
    /// Have a running server read its policy again. A policy that is wrong changes nothing
    Reload {
        #[command(flatten)]
        server: ControlSocket,
    },
    /// Write the frames from and to a VM to a file that tcpdump reads
    Capture {
        #[command(flatten)]
        server: ControlSocket,
        /// The VM
        vm: String,
        /// The file
        file: PathBuf,
        /// Number of seconds
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Write the manual pages, one for each command, to a folder
    Man {
        /// The folder. It is made if it is missing
        folder: PathBuf,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Args)]
struct ControlSocket {
    /// The control socket of the server
    #[arg(long, env = "SLUICED_CONTROL", default_value = "/run/sluice/control.sock")]
    control: PathBuf,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("manual pages in {}: {error}", folder.display())]
    Pages { folder: PathBuf, error: io::Error },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Policy(_) => 3,
            Self::Client(ClientError::NoServer { .. }) => 4,
            _ => 1,
        }
    }
}

fn main() -> ExitCode {
    let Err(failure) = act(Options::parse().command) else { return ExitCode::SUCCESS };
    if let Ok((mut stderr, guard)) = log::begin() {
        // Nobody is left to be told that standard error is closed.
        let _ = stderr.write_all(format!("sluiced: {failure}\n").as_bytes());
        log::end(guard);
    }
    failure.code().into()
}

fn act(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(options) => run::run(&options)?,
        Command::Check { policy, json } => {
            let meaning = Policy::read(&policy)?.meaning();
            let text =
                if json { serde_json::to_string(&meaning).map_err(io::Error::from)? } else { meaning.to_string() };
            writeln!(io::stdout(), "{}", text.trim_end())?;
        }
        Command::Status { server, json, prometheus, watch } => {
            let format = match (json, prometheus) {
                (false, false) => Format::Text,
                (true, _) => Format::Json,
                (false, true) => Format::Prometheus,
            };
            client::status(&server.control, format, watch)?;
        }
        Command::Reload { server } => client::reload(&server.control)?,
        Command::Capture { server, vm, file, seconds } => client::capture(&server.control, vm, &file, seconds)?,
        Command::Man { folder } => write_pages(&folder).map_err(|error| Failure::Pages { folder, error })?,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Options::command(), "sluiced", &mut text);
            io::stdout().write_all(&text)?;
        }
    }
    Ok(())
}

/// Writes a manual page for each command to `folder`.
fn write_pages(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Options::command(), folder)
}
