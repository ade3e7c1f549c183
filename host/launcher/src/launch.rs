//! From the manifest to the verdict.

use crate::console::Console;
use crate::files::{self, FileError};
use crate::process::NewProcess;
use crate::run::Run;
use crate::shared::{Memory, Shared};
use crate::taps::Taps;
use crate::{Options, flows, memory};
use rustix::thread::{CpuSet, sched_getaffinity};
use sluice_abi::directory::GateKind;
use sluice_control::{Manifest, Switch, VmConfig};
use sluice_guard::Signals;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A file that the command line or the manifest names can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A VM that may start again has peers, whose ring positions would be lost.
    #[error(
        "vm \"{0}\": restarts: a vm that has peers can't be started again here: its ring positions are its own memory"
    )]
    Restarts(String),
    /// The system refused memory or a process.
    #[error("vm \"{vm}\": {what}: {error}")]
    System { vm: String, what: String, error: io::Error },
    /// A flow table can't be set up.
    #[error("vm \"{vm}\": {error}")]
    Flows { vm: String, error: sluice_flows::SetupError },
    /// Open vSwitch can't be behind an in-VM switch.
    #[error("vm \"{vm}\": openvswitch: {error}")]
    OpenVswitch { vm: String, error: sluice_openvswitch::Error },
    /// The system refused memory for the switch.
    #[error("switch: memory: {0}")]
    Switch(io::Error),
    /// A VM failed.
    #[error("{0}")]
    Vm(String),
    /// VMs still ran when the time was over.
    #[error("vm {vms} still runs after {seconds} s")]
    Timeout { vms: String, seconds: u64 },
    /// A signal ended the run.
    #[error("stopped by {}", sluice_guard::name(*.0))]
    Signal(i32),
    /// Lines could not be written to standard output.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// A capture lacks frames.
    #[error("tap \"{name}\": {error}")]
    Tap { name: String, error: io::Error },
    /// Signals could not be caught.
    #[error("signals: {0}")]
    Signals(io::Error),
}

/// Runs the VMs of the manifest, and prints the verdict.
pub fn main(options: &Options) -> ExitCode {
    let signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return verdict(&mut Console::default(), Err(LaunchError::Signals(error))),
    };
    // A time beyond the range of the clock is never reached.
    let end = Instant::now().checked_add(Duration::from_secs(options.timeout));
    let mut console = Console::new(&signals, end);
    let result = launch(options, &signals, &mut console, end);
    sluice_guard::end_descendants();
    let result = result.and_then(|()| console.error().map_or(Ok(()), |error| Err(LaunchError::Output(error))));
    verdict(&mut console, result)
}

/// Prints the verdict. Returns the exit code; that of a run that a signal ended is set by `sluice_guard`.
fn verdict(console: &mut Console<'_>, result: Result<(), LaunchError>) -> ExitCode {
    match &result {
        Ok(()) => console.last("RESULT pass"),
        Err(error) => console.last(&format!("RESULT fail: {error}")),
    }
    // The verdict itself may not have been written.
    ExitCode::from(u8::from(result.is_err() || console.error().is_some()))
}

/// Starts every VM, and waits for all of them.
fn launch<'s>(
    options: &Options,
    signals: &'s Signals,
    console: &mut Console<'s>,
    end: Option<Instant>,
) -> Result<(), LaunchError> {
    let manifest = files::manifest(&options.manifest)?;
    files::check_folders(options)?;
    let images = manifest.vms.iter().map(|vm| files::find(options, vm)).collect::<Result<Vec<_>, _>>()?;
    if let Some(vm) = manifest.vms.iter().find(|vm| vm.restarts > 0 && !vm.peers.is_empty()) {
        return Err(LaunchError::Restarts(vm.name.clone()));
    }
    console.say(&format!(
        "embedded default: {} plain processes over shared memory, nothing protects them",
        manifest.vms.len()
    ));
    let (shared, mut parts) = prepare(options, &manifest)?;
    let processors = processors();
    for (parts, image) in parts.iter_mut().zip(images) {
        parts.image = image;
        parts.processor = processor(&processors, parts, console);
        if parts.config.gate != GateKind::Direct {
            let (name, asked) = (&parts.config.name, parts.config.gate.name());
            console.say(&format!("vm {name}: gate direct (the manifest asks for {asked}, which needs the monitor)"));
        }
    }
    let report = (manifest.report_ticks > 0).then(|| Duration::from_nanos(manifest.report_ticks));
    Run::new(options, signals, console, &parts, shared, report).until_all_ended(end)
}

/// Returns the memory and devices that processes share, and the parts of each process.
fn prepare<'a>(options: &'a Options, manifest: &'a Manifest) -> Result<(Shared, Vec<NewProcess<'a>>), LaunchError> {
    let system = |vm: &VmConfig, what: &str| {
        let (vm, what) = (vm.name.clone(), what.to_owned());
        move |error| LaunchError::System { vm, what, error }
    };
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    let (mut rams, mut pages, mut requests, mut blocks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for vm in &manifest.vms {
        let len = u64::from(vm.ram_mib) << 20;
        let ram = memory::ram(&vm.name, len).map_err(system(vm, "RAM"))?;
        rams.push(memory::map(&ram, len).map_err(system(vm, "RAM"))?);
        files.push(ram);
        let (file, page) = memory::directory().map_err(system(vm, "directory"))?;
        directories.push(file);
        pages.push(page);
        let (block, request) = memory::request().map_err(system(vm, "request block"))?;
        blocks.push(block);
        requests.push(request);
    }
    let (switches, flow_files) = flows::prepare(options, manifest)?;
    let mut all = Vec::new();
    let files_of_vms = manifest.vms.iter().zip(directories).zip(blocks).zip(flow_files);
    for (id, (((config, directory), request), flows)) in files_of_vms.enumerate() {
        let clone = |ram: &OwnedFd| ram.try_clone().map_err(system(config, "RAM"));
        let peers = manifest.peers_of(id).map(|peer| clone(&files[peer])).collect::<Result<_, _>>()?;
        let ram = clone(&files[id])?;
        all.push(NewProcess {
            id: id as u32,
            config,
            options,
            image: Default::default(),
            processor: None,
            directory,
            ram,
            request,
            peers,
            flows,
        });
    }
    let tap = |(id, error): (usize, io::Error)| system(&manifest.vms[id], "tap")(error);
    let taps = Taps::create(options, manifest).map_err(tap)?;
    let room = memory::private(Switch::ROOM_LEN).map_err(LaunchError::Switch)?;
    let too_little = || LaunchError::Switch(io::ErrorKind::OutOfMemory.into());
    let shared =
        Shared::new(manifest, Memory { pages, requests, rams, room }, taps, (switches, flows::bridges(manifest)?))
            .ok_or_else(too_little)?;
    Ok((shared, all))
}

/// Returns the processors that this process may use.
fn processors() -> Vec<usize> {
    let set = sched_getaffinity(None);
    set.map(|set| (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()).unwrap_or_default()
}

/// Returns the processor of a VM, if there is more than one. A line tells if it differs from the manifest's number.
fn processor(processors: &[usize], parts: &NewProcess<'_>, console: &mut Console<'_>) -> Option<usize> {
    let chosen = chosen(processors, parts.config.cpu.unwrap_or(parts.id as usize))?;
    if let Some(cpu) = parts.config.cpu.filter(|cpu| *cpu != chosen) {
        let (name, count) = (&parts.config.name, processors.len());
        console.say(&format!("vm {name}: processor {chosen} (cpu = {cpu}, counted over the {count} that may be used)"));
    }
    Some(chosen)
}

/// Returns processor `cpu` of those that may be used, counted from 0 and modulo their number; `None` if there is no
/// choice.
fn chosen(processors: &[usize], cpu: usize) -> Option<usize> {
    if processors.len() > 1 { Some(processors[cpu % processors.len()]) } else { None }
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn no_processor_is_chosen_that_may_not_be_used() {
        let all: Vec<_> = (0..5).map(|cpu| chosen(&[4, 9], cpu)).collect();
        assert_eq!(all, [4, 9, 4, 9, 4].map(Some));
        assert_eq!([chosen(&[7], 0), chosen(&[], 3)], [None, None]);
    }
}
