//! A virtual machine: which QEMU, how much memory, which network devices.

use sluice_corpora::Packages;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages with QEMU 10 and its firmware.
const PACKAGES: [&str; 4] = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"];
/// Where they have files that QEMU looks for: firmware, and code that loads a kernel.
const DATA: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];
const PROGRAM: &str = "usr/bin/qemu-system-x86_64";
/// The kernel's options: a panic ends QEMU, and nothing but what tests send goes over a network.
const KERNEL_OPTIONS: &str = "console=ttyS0 quiet panic=-1 ipv6.disable=1";

/// A QEMU.
#[derive(Clone, Debug)]
pub struct Qemu {
    program: PathBuf,
    /// Folders with its data, if those are not where it was built to find them.
    data: Vec<PathBuf>,
    /// Whether network devices have an interrupt for each queue (MSI-X), else one for all (INTx).
    msix: bool,
}

impl Qemu {
    /// Returns the QEMU that is installed: 7.2 on Debian 12. Network devices have one interrupt for all their queues
    /// (INTx): 7.2 crashes when a driver starts with vhost-user, MSI-X and TCG.
    pub fn installed() -> Self {
        Self { program: "qemu-system-x86_64".into(), data: Vec::new(), msix: false }
    }

    /// Fetches QEMU 10, of Debian's backports, unless it is in `folder`. Its shared libraries are those of the
    /// installed QEMU. Network devices have an interrupt for each queue (MSI-X), so a missing notification shows.
    ///
    /// # Errors
    /// One line: what can't be had.
    pub fn backport(folder: &Path) -> Result<Self, String> {
        let folders = Packages::open(folder)?.unpacked(&PACKAGES, true)?;
        let data = folders.iter().flat_map(|folder| DATA.map(|name| folder.join(name))).filter(|it| it.is_dir());
        let qemu = Self { program: folders[0].join(PROGRAM), data: data.collect(), msix: true };
        let said = Command::new(&qemu.program).arg("--version").output();
        let said = said.map_err(|error| format!("{}: {error}", qemu.program.display()))?;
        let error = String::from_utf8_lossy(&said.stderr);
        if said.status.success() { Ok(qemu) } else { Err(error.lines().next().unwrap_or("QEMU 10 fails").to_owned()) }
    }

    /// Returns whether network devices have an interrupt for each queue.
    pub fn has_msix(&self) -> bool {
        self.msix
    }
}

/// A network device.
#[derive(Clone, Debug)]
pub struct Nic {
    /// The socket of the vhost-user back-end. QEMU connects, and connects again when the back-end is gone.
    pub socket: PathBuf,
    /// The device's address.
    pub mac: [u8; 6],
    /// The number of queue pairs.
    pub pairs: u16,
}

/// What a VM has. See [`Vm::new`].
#[derive(Clone, Debug)]
pub struct Vm {
    /// The name, for messages.
    pub name: String,
    /// Which QEMU.
    pub qemu: Qemu,
    /// The guest's memory, MiB. What the guest does not use takes none of the host's.
    pub memory_mib: u32,
    /// How much of it is below 4 GiB, MiB: what is more is above, where Linux takes its buffers first.
    pub low_mib: u32,
    /// The file that is the memory, if others are to have it as a device; else QEMU makes one that has no name.
    pub memory_file: Option<PathBuf>,
    /// Network devices: eth0, eth1 and so on in the guest.
    pub nics: Vec<Nic>,
    /// Files for the guest, which may be run: path without a slash at the start, and contents.
    pub files: Vec<(String, Vec<u8>)>,
    /// More options for QEMU.
    pub options: Vec<OsString>,
}

impl Vm {
    /// Returns a VM with the installed QEMU, 256 MiB below 4 GiB, and the network devices `nics`.
    pub fn new(name: &str, nics: Vec<Nic>) -> Self {
        let (qemu, name) = (Qemu::installed(), name.to_owned());
        let (files, options) = (Vec::new(), Vec::new());
        Self { name, qemu, memory_mib: 256, low_mib: 2048, memory_file: None, nics, files, options }
    }

    /// Returns the command that runs this VM with `kernel`. The other files are in `folder`: archive `initramfs`,
    /// sockets `agent` and `qmp`, and `console` for what the kernel says.
    pub(crate) fn command(&self, kernel: &Path, folder: &Path) -> Command {
        let mut command = Command::new(&self.qemu.program);
        let at = |name: &str| folder.join(name).display().to_string();
        for folder in &self.qemu.data {
            command.arg("-L").arg(folder);
        }
        command.args(["-name", &self.name, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        // A kernel boots a second faster on this processor than on one with all that can be emulated.
        command.args(["-accel", "tcg", "-cpu", "Nehalem", "-smp", "1"]);
        command.args([
            "-M",
            &format!("q35,max-ram-below-4g={}M", self.low_mib),
            "-m",
            &format!("{}M", self.memory_mib),
        ]);
        let kind = match &self.memory_file {
            Some(file) => format!("memory-backend-file,mem-path={}", file.display()),
            None => "memory-backend-memfd".into(),
        };
        let memory = format!("{kind},id=memory,size={}M,share=on", self.memory_mib);
        command.args(["-object", &memory, "-numa", "node,memdev=memory"]);
        command.arg("-kernel").arg(kernel).args(["-initrd", &at("initramfs"), "-append", KERNEL_OPTIONS]);
        command.args(["-serial", &format!("file:{}", at("console"))]);
        command.args(["-chardev", &format!("socket,id=qmp,path={}", at("qmp")), "-mon", "chardev=qmp,mode=control"]);
        command.args(["-device", "virtio-serial-pci", "-chardev", &format!("socket,id=agent,path={}", at("agent"))]);
        command.args(["-device", "virtserialport,chardev=agent"]);
        for (number, nic) in self.nics.iter().enumerate() {
            self.add(nic, number, &mut command);
        }
        command.args(&self.options);
        command
    }

    fn add(&self, nic: &Nic, number: usize, command: &mut Command) {
        let Nic { socket, pairs, .. } = nic;
        command.args(["-chardev", &format!("socket,id=nic{number},path={},reconnect=1", socket.display())]);
        command.args(["-netdev", &format!("vhost-user,id=nic{number},chardev=nic{number},queues={pairs}")]);
        // An interrupt for each queue, one for the control queue, and one for changes of the configuration.
        let vectors = if self.qemu.msix { 2 * pairs + 2 } else { 0 };
        let multiqueue = if *pairs > 1 { ",mq=on" } else { "" };
        let sizes = "rx_queue_size=1024,tx_queue_size=1024";
        let mac = Mac(nic.mac);
        let device =
            format!("virtio-net-pci,netdev=nic{number},mac={mac},vectors={vectors}{multiqueue},{sizes},romfile=");
        command.args(["-device", &device]);
    }
}

struct Mac([u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
