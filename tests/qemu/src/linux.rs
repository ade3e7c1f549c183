//! What runs in a guest: Debian's kernel, busybox, and programs for networks.

use crate::archive::Archive;
use anyhow::{Context, Result, ensure};
use sluice_corpora::Packages;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that depends on the newest kernel for virtual machines.
const KERNEL: &str = "linux-image-cloud-amd64";
/// Packages of the programs, the kernel's own aside, and of the libraries that they use.
const PACKAGES: [&str; 19] = [
    "busybox-static",
    "ethtool",
    "iperf3",
    "tcpdump",
    "libc6",
    "libcap2",
    "libdbus-1-3",
    "libgcrypt20",
    "libgpg-error0",
    "libiperf0",
    "liblz4-1",
    "liblzma5",
    "libmnl0",
    "libpcap0.8",
    "libsctp1",
    "libssl3",
    "libsystemd0",
    "libzstd1",
    "zlib1g",
];
/// The programs that are not busybox's.
const PROGRAMS: [&str; 3] = ["ethtool", "iperf3", "tcpdump"];
/// Drivers, below the folder of a kernel's modules. `init.sh` has the order in which they are loaded.
const MODULES: [&str; 9] = [
    "drivers/char/virtio_console",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_ring",
    "net/core/failover",
];
/// Where Debian's packages have libraries.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";

/// A kernel, and the archive of its first file system.
#[derive(Debug)]
pub struct Linux {
    /// The kernel's image.
    pub(crate) kernel: PathBuf,
    /// The archive: drivers, programs, and a first process that runs commands.
    pub(crate) archive: Vec<u8>,
}

impl Linux {
    /// Fetches what is missing in `folder`, and makes the archive.
    ///
    /// # Errors
    /// One line: what can't be had.
    pub fn fetch(folder: &Path) -> Result<Self, String> {
        let packages = Packages::open(folder)?;
        let kernel = packages.behind(KERNEL)?;
        let names: Vec<_> = [kernel.as_str()].into_iter().chain(PACKAGES).collect();
        let folders = packages.unpacked(&names, false)?;
        Self::new(&folders).map_err(|error| format!("Linux for guests: {error:#}"))
    }

    fn new(folders: &[PathBuf]) -> Result<Self> {
        let kernel = folders.iter().find_map(|folder| entry(&folder.join("boot"), "vmlinuz-")).context("no kernel")?;
        let modules = folders.iter().find_map(|folder| entry(&folder.join("lib/modules"), "")).context("no modules")?;
        let mut archive = Archive::default();
        for folder in ["bin", "dev", "etc", "lib", LIBRARIES, "lib64", "modules", "proc", "run", "sys", "tmp"] {
            archive.folder(folder)?;
        }
        archive.console()?;
        archive.file("init", include_bytes!("init.sh"))?;
        // tcpdump wants to become a user of that name.
        archive.file("etc/passwd", b"root:x:0:0::/:/bin/sh\ntcpdump:x:0:0::/:/bin/sh\n")?;
        archive.file("bin/busybox", &fs::read(find(folders, &["bin/busybox", "usr/bin/busybox"])?)?)?;
        archive.link("lib64/ld-linux-x86-64.so.2", &format!("/{LIBRARIES}/ld-linux-x86-64.so.2"))?;
        for module in MODULES {
            let name = module.rsplit('/').next().unwrap_or_default();
            archive.file(&format!("modules/{name}.ko"), &driver(&modules.join("kernel").join(module))?)?;
        }
        for name in PROGRAMS {
            let file =
                find(folders, &[&format!("usr/bin/{name}"), &format!("usr/sbin/{name}"), &format!("sbin/{name}")])?;
            archive.file(&format!("bin/{name}"), &fs::read(file)?)?;
        }
        for folder in folders.iter().flat_map(|folder| [folder.join(LIBRARIES), folder.join("usr").join(LIBRARIES)]) {
            libraries(&folder, &mut archive)?;
        }
        Ok(Self { kernel, archive: archive.finish()? })
    }
}

/// Returns the entry of `folder` whose name begins with `start`, if there is one.
fn entry(folder: &Path, start: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    entries.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
}

/// Returns the first of the files `names` in any of `folders`.
fn find(folders: &[PathBuf], names: &[&str]) -> Result<PathBuf> {
    let mut all = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    all.find(|file| file.is_file()).with_context(|| format!("no {}", names[0]))
}

/// Reads a driver, which kernels after Debian 12's have compressed.
fn driver(module: &Path) -> Result<Vec<u8>> {
    let (plain, compressed) = (module.with_added_extension("ko"), module.with_added_extension("ko.xz"));
    if plain.is_file() {
        return Ok(fs::read(plain)?);
    }
    let output = Command::new("xz").arg("-dc").arg(&compressed).output().context("xz")?;
    ensure!(output.status.success(), "xz: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(output.stdout)
}

/// Adds the shared libraries in `folder`, if there are any.
fn libraries(folder: &Path, archive: &mut Archive) -> Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, format!("{LIBRARIES}/{}", entry.file_name().to_string_lossy()));
        if kind.is_symlink() {
            archive.link(&path, &fs::read_link(entry.path())?.to_string_lossy())?;
        } else if kind.is_file() {
            archive.file(&path, &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
