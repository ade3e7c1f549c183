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
    let (shared, machines) = start(options, &manifest, files)?;
    wait(options, &manifest, &shared, machines)
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

fn start(
    options: &Options,
    manifest: &Manifest,
    files: Vec<Files>,
) -> Result<(Arc<Shared>, Vec<Machine>), LaunchError> {
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
    let mut machines = Vec::new();
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
        let parts = Parts {
            id: id as u32,
            config,
            image,
            modules,
            out: &options.out,
            directory,
            ram: clone(&rams[id])?,
            peers,
        };
        machines.push(machine::start(parts, &shared).map_err(system(config, "process"))?);
    }
    Ok((shared, machines))
}

/// Waits for all; the first that ended badly is the verdict.
fn wait(
    options: &Options,
    manifest: &Manifest,
    shared: &Shared,
    mut machines: Vec<Machine>,
) -> Result<(), LaunchError> {
    let end = Instant::now() + Duration::from_secs(options.timeout);
    let mut verdict = Ok(());
    while let Some(first) = machines.first() {
        if Instant::now() > end {
            return Err(LaunchError::Timeout { vm: manifest.vms[first.id].name.clone(), seconds: options.timeout });
        }
        for mut machine in std::mem::take(&mut machines) {
            let name = &manifest.vms[machine.id].name;
            match machine.ended().map_err(|error| LaunchError::System { vm: name.clone(), what: "process", error })? {
                None => machines.push(machine),
                Some(status) => {
                    shared.remove(machine.id as u32);
                    verdict = verdict.and(machine::verdict(name, status).map_err(LaunchError::Vm));
                }
            }
        }
        thread::sleep(POLL);
    }
    verdict
}
