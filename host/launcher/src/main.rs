//! The embedded default: the VMs of a manifest as plain Linux processes over shared memory. No root, no hypervisor, and
//! no protection: every gate is `Direct`.
//!
//! Reading order: [`launch`] (from the manifest to the verdict), `files` (the files that the manifest names), `run`
//! (all processes, until the last has ended), `process` (one process), `console` (standard output), `shared` (devices,
//! directories and the switch), `sender` (who stays in a call), `flows` (in-VM switches), `openvswitch` (behind them),
//! `taps` (captures), `memory`.

mod console;
mod files;
mod flows;
mod launch;
mod lines;
mod memory;
mod openvswitch;
mod process;
mod run;
mod sender;
mod shared;
mod taps;

use clap::Parser;
use console::Console;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the VMs of a manifest as Linux processes that share memory: Sluice without a hypervisor.
///
/// Each VM's image is the program of that name in IMAGES. Console lines carry the VM's name. The run ends with the last
/// VM, or with the first that fails and is not to be started again. All processes that any VM started are killed then,
/// or when the launcher itself ends in any way. The last line says RESULT pass, or RESULT fail and why.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes:
  0    RESULT pass
  1    RESULT fail
  2    wrong command line
  128+N  stopped by signal N: 130 SIGINT, 143 SIGTERM, 129 SIGHUP, 131 SIGQUIT

Example: sluice-launcher --images target/release --files examples/captures --out /tmp examples/manifests/pcap.toml"
)]
pub struct Options {
    /// The manifest, a TOML file: see docs/interfaces.md
    manifest: PathBuf,
    /// Folder with the programs that the manifest calls images
    #[arg(long)]
    images: PathBuf,
    /// Folder with the files that the manifest calls modules
    #[arg(long, default_value = ".")]
    files: PathBuf,
    /// Folder that VMs write files into
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Stop all VMs after this number of seconds
    #[arg(long, default_value_t = 600, allow_hyphen_values = true, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let killed = |signal: &str| Console::default().last(&format!("RESULT fail: the launcher was ended by {signal}"));
    sluice_guard::run(|| launch::main(&options), killed)
}
