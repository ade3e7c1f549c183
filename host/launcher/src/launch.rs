//! From the manifest to the verdict.

use crate::Options;
use crate::machine::{self, Machine, Parts};
use crate::memory;
use crate::shared::Shared;
use sluice_abi::directory::GateKind;
use sluice_control::{Manifest, ManifestError, VmConfig};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// How often ended processes are looked for.
const POLL: Duration = Duration::from_millis(2);

/// Why not all VMs ended well.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The manifest file.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// What it says.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file that it names.
    #[error("vm \"{vm}\": {what} \"{name}\": no such file in {}", folder.display())]
    Missing { vm: String, what: &'static str, name: String, folder: PathBuf },
    /// What it sent would be forgotten.
    #[error("vm \"{0}\": restarts: a vm that has peers can't be started again here: it keeps in itself what it sent")]
    Restarts(String),
    /// Memory or process.
    #[error("vm \"{vm}\": {what}: {error}")]
    System { vm: String, what: &'static str, error: io::Error },
    /// A VM's own end.
    #[error("{0}")]
    Vm(String),
    /// Too late.
    #[error("vm {vm} still runs after {seconds} s")]
    Timeout { vm: String, seconds: u64 },
}

/// Starts every VM, waits for all of them.
pub fn run(options: &Options) -> Result<(), LaunchError> {
    let text = fs::read_to_string(&options.manifest)
        .map_err(|error| LaunchError::File { path: options.manifest.clone(), error })?;
    let manifest = Manifest::parse(&text)?;
    let files = manifest.vms.iter().map(|vm| find_files(options, vm)).collect::<Result<Vec<_>, _>>()?;
    println!(
        "[launcher] embedded default: {} plain processes over shared memory, nothing protects them",
        manifest.vms.len()
    );
    let (shared, parts) = prepare(options, &manifest, files)?;
    let start = |parts: &Parts<'_>| {
        let system = |error| LaunchError::System { vm: parts.config.name.clone(), what: "process", error };
        machine::start(parts, &shared).map_err(system)
    };
    let machines = parts.iter().map(start).collect::<Result<_, _>>()?;
    wait(options, &shared, &parts, machines, start)
}

/// The image and the modules of a VM.
type Files = (PathBuf, Vec<PathBuf>);

fn find_files(options: &Options, vm: &VmConfig) -> Result<Files, LaunchError> {
    let find = |folder: &Path, what, name: &str| {
        let path = folder.join(name);
        let missing = || LaunchError::Missing { vm: vm.name.clone(), what, name: name.into(), folder: folder.into() };
        if path.is_file() { Ok(path) } else { Err(missing()) }
    };
    let image = find(&options.images, "image", &vm.image)?;
    let modules = vm.modules.iter().map(|name| find(&options.files, "module", name)).collect::<Result<_, _>>()?;
    Ok((image, modules))
}

/// All that is shared, and what each process is started with.
fn prepare<'a>(
    options: &'a Options,
    manifest: &'a Manifest,
    files: Vec<Files>,
) -> Result<(Arc<Shared>, Vec<Parts<'a>>), LaunchError> {
    let system = |vm: &VmConfig, what| {
        let vm = vm.name.clone();
        move |error| LaunchError::System { vm, what, error }
    };
    let (mut rams, mut directories, mut pages) = (Vec::new(), Vec::new(), Vec::new());
    for vm in &manifest.vms {
        rams.push(memory::ram(&vm.name, u64::from(vm.ram_mib) << 20).map_err(system(vm, "RAM"))?);
        let (file, page) = memory::directory_page().map_err(system(vm, "directory"))?;
        directories.push(file);
        pages.push(page);
    }
    let shared = Arc::new(Shared::new(manifest, pages));
    let mut all = Vec::new();
    for ((id, (image, modules)), directory) in files.into_iter().enumerate().zip(directories) {
        let config = &manifest.vms[id];
        let clone = |ram: &OwnedFd| ram.try_clone().map_err(system(config, "RAM"));
        let peers = manifest.peers_of(id).map(|peer| clone(&rams[peer])).collect::<Result<_, _>>()?;
        let asked = config.gate.name();
        if config.gate != GateKind::Direct {
            println!(
                "[launcher] vm {}: gate direct (the manifest asks for {asked}, which needs the monitor)",
                config.name
            );
        }
        if config.restarts > 0 && !config.peers.is_empty() {
            return Err(LaunchError::Restarts(config.name.clone()));
        }
        let ram = clone(&rams[id])?;
        all.push(Parts { id: id as u32, config, image, modules, out: &options.out, directory, ram, peers });
    }
    Ok((shared, all))
}

/// Waits for all, and starts again what shall be; the first that ended badly for good is the verdict.
fn wait(
    options: &Options,
    shared: &Shared,
    parts: &[Parts<'_>],
    mut machines: Vec<Machine>,
    start: impl Fn(&Parts<'_>) -> Result<Machine, LaunchError>,
) -> Result<(), LaunchError> {
    let end = Instant::now() + Duration::from_secs(options.timeout);
    let (mut verdict, mut restarts) = (Ok(()), vec![0; parts.len()]);
    while let Some(first) = machines.first() {
        if Instant::now() > end {
            return Err(LaunchError::Timeout { vm: parts[first.id].config.name.clone(), seconds: options.timeout });
        }
        for mut machine in std::mem::take(&mut machines) {
            let (parts, restarts) = (&parts[machine.id], &mut restarts[machine.id]);
            let (name, times) = (&parts.config.name, parts.config.restarts);
            let ended =
                machine.ended().map_err(|error| LaunchError::System { vm: name.clone(), what: "process", error })?;
            let Some(status) = ended else {
                machines.push(machine);
                continue;
            };
            shared.remove(parts.id);
            let end = machine::verdict(name, status).map_err(LaunchError::Vm);
            if *restarts == times {
                verdict = verdict.and(end);
                continue;
            }
            *restarts += 1;
            shared.restart(parts.id);
            machines.push(start(parts)?);
            println!("[launcher] vm {name} starts again, {restarts} of {times}");
        }
        thread::sleep(POLL);
    }
    verdict
}
