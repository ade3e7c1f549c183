//! `cargo xtask run`: anyone's manifest and images, in the emulated machine or as processes.
//!
//! Reading order: [`run`] (from the command line to the exit code), `manifest` (what is to run, and where the manifest
//! says so), `search` (the files that the manifest names), `live` (what is shown while it runs).

mod live;
mod manifest;
mod search;

use crate::{Host, Scenario, artifacts, tools};
use anyhow::{Error, Result};
use live::Live;
use manifest::Source;
use search::Kind;
use sluice_report::{Outcome, RunHost};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Exit codes besides 0: see `cargo xtask run --help`.
const FAILED: u8 = 1;
const NOT_STARTED: u8 = 3;
const TIMEOUT: u8 = 4;

/// What to run, and on what.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Exit codes:
  0      every VM ended well
  1      a VM failed, or broke a rule of the host; the last line says which and why. Or there is no picture for --svg
  2      wrong command line
  3      nothing ran: the manifest, an image or a file is not as it must be, or something could not be built
  4      the run took longer than --timeout
  128+N  ended by signal N: 130 SIGINT, 143 SIGTERM

Example, from this checkout, for a VNF that lies elsewhere:
  (cd ~/my-vnf && cargo build --release --target x86_64-unknown-none)
  cargo xtask run ~/my-vnf/manifest.toml --images ~/my-vnf/target/x86_64-unknown-none/release")]
pub struct Options {
    /// The manifest, a TOML file: see docs/interfaces.md
    manifest: PathBuf,
    /// Folder with images, by name; may be given again. Programs of this workspace need none
    ///
    /// The emulated machine takes programs built for x86_64-unknown-none, a run as processes takes those built for
    /// Linux. Of several folders that have the name, the first whose program is of the right kind counts, so one
    /// command line can name both.
    #[arg(long, value_name = "DIR")]
    images: Vec<PathBuf>,
    /// Folder with the files that the manifest calls modules; may be given again [default: the manifest's folder]
    #[arg(long, value_name = "DIR")]
    files: Vec<PathBuf>,
    /// Folder for the files that VMs write; without, they are only counted
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run the VMs as plain Linux processes, even where the emulated machine can be had
    #[arg(long)]
    processes: bool,
    /// Processors of the emulated machine [default: as many as the manifest's `cpu` keys name]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
    processors: Option<u8>,
    /// Stop everything after this number of seconds
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Print one JSON object instead of consoles
    #[arg(long)]
    json: bool,
    /// Show on standard error, while it runs, what in-VM switches and chains count
    ///
    /// VMs and host are asked to print their counters now and then, unless `report_ticks` in the manifest and
    /// `report_ms` in the chain file say when, of which 0 is never.
    #[arg(long)]
    watch: bool,
    /// Draw the chains of the run, with packets and, as processes, packets a second
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs it, says what came of it, and returns the exit code.
pub fn run(options: &Options) -> ExitCode {
    match attempt(options) {
        Ok(outcome) => {
            if options.json {
                println!("{:#}", outcome.json());
            } else {
                println!("{outcome}");
            }
            let drawn = options.svg.as_ref().and_then(|path| outcome.draw(path).err());
            drawn.iter().for_each(|error| eprintln!("error: {error:#}"));
            ExitCode::from(match &outcome.result {
                Err(_) if outcome.timed_out => TIMEOUT,
                Ok(()) if drawn.is_none() => 0,
                _ => FAILED,
            })
        }
        Err(error) => {
            let reason = format!("{error:#}");
            if options.json {
                println!("{:#}", serde_json::json!({ "result": "not started", "reason": reason }));
            }
            eprintln!("error: {reason}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn attempt(options: &Options) -> Result<Outcome> {
    let source = Source::read(&options.manifest)?;
    let host = host(options.processes);
    let kind = if host == Host::Bochs { Kind::Bare } else { Kind::Linux };
    let mut scenario = scenario(options, &source, kind)?;
    if options.watch || options.svg.is_some() {
        live::ask(&mut scenario, host);
    }
    build(host, &scenario, &source)?;
    let start = Instant::now();
    let mut live = Live::new(run_host(host), options.watch);
    let report = host.watch(&scenario, |lines| live.read(lines))?;
    let names = source.manifest.vms.iter().map(|vm| vm.name.as_str());
    let limits = (options.timeout, options.out.as_deref());
    Outcome::new(run_host(host), names, (report, live.counters()), start.elapsed(), limits)
}

const fn run_host(host: Host) -> RunHost {
    match host {
        Host::Bochs => RunHost {
            name: "the monitor, in the emulator Bochs",
            tag: "monitor",
            time: ("million ticks", 1_000_000),
            has_clock: false,
        },
        Host::Embedded => RunHost {
            name: "plain Linux processes; nothing protects them from each other",
            tag: "launcher",
            time: ("ms", 1_000_000),
            has_clock: true,
        },
    }
}

/// The emulated machine where it can be had, unless processes are asked for; else processes, with a line that says so.
fn host(processes: bool) -> Host {
    if processes {
        return Host::Embedded;
    }
    match tools::emulator() {
        Ok(()) => Host::Bochs,
        Err(why) => {
            eprintln!("No emulated machine here ({why}): the VMs run as plain Linux processes; nothing protects them.");
            Host::Embedded
        }
    }
}

/// All that the run needs, found and looked at before anything is built or started.
fn scenario(options: &Options, source: &Source, kind: Kind) -> Result<Scenario> {
    let mut scenario = Scenario::new(&source.text);
    scenario.timeout = options.timeout;
    scenario.processors = options.processors.map_or_else(|| source.processors(), usize::from);
    scenario.memory_mib = scenario.memory_mib.max(source.ram_mib() + 64);
    for (index, vm) in source.manifest.vms.iter().enumerate() {
        let named = source.key(index, "image", None);
        if let Some(path) = search::image(&options.images, &vm.image, kind).map_err(|why| named.error(why))? {
            scenario.images.insert(vm.image.clone(), path);
        }
        let flows = vm.flows.as_ref().and_then(|flows| flows.file()).map(|name| ("switch", name));
        for (key, name) in vm.modules.iter().map(|name| ("modules", name.as_str())).chain(flows) {
            let named = source.key(index, key, Some(name));
            let file = search::file(&options.files, source.folder(), name).map_err(|why| named.error(why))?;
            if !scenario.modules.iter().any(|(known, _)| known == name) {
                scenario.modules.push((name.to_owned(), file));
            }
        }
    }
    Ok(scenario)
}

/// Builds the host, and the programs of this workspace that the manifest names.
fn build(host: Host, scenario: &Scenario, source: &Source) -> Result<()> {
    let images = source.manifest.vms.iter().map(|vm| vm.image.as_str());
    let ours = images.filter(|name| !scenario.images.contains_key(*name)).collect::<Vec<_>>();
    match host {
        Host::Bochs => tools::bare_target().map_err(Error::msg).and_then(|()| artifacts::build_bare_some(&ours)),
        Host::Embedded => artifacts::build_hosted_some(&ours),
    }
}
