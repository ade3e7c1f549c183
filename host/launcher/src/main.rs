//! The embedded default: the VMs of a manifest as plain Linux processes over shared memory. No root, no hypervisor, and no
//! protection: every gate is `Direct`.
//!
//! Reading order: [`launch`] (from the manifest to the verdict), `machine` (one process), `shared` (what all see), `memory`.

mod launch;
mod machine;
mod memory;
mod shared;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the VMs of a manifest as Linux processes that share memory: Sluice without a hypervisor.
///
/// Each VM's image is the program of that name in IMAGES. Console lines carry the VM's name. The last line says RESULT pass, or
/// RESULT fail and why; the exit code is 0 or 1, and 2 for a wrong command line.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example: sluice-launcher --images target/release --files examples/captures --out /tmp manifests/pcap.toml"
)]
pub struct Options {
    /// The manifest: see docs/interfaces.md
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
    /// Stop everything after so many seconds
    #[arg(long, default_value_t = 600)]
    timeout: u64,
}

fn main() -> ExitCode {
    match launch::run(&Options::parse()) {
        Ok(()) => {
            println!("[launcher] RESULT pass");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("[launcher] RESULT fail: {error}");
            ExitCode::FAILURE
        }
    }
}
