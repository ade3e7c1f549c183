//! The image as a Linux process: RAM is a memfd that its senders map, too.
//!
//! The launcher starts it, and hands over file descriptors of fixed numbers and a few environment variables. Of
//! `sluiced`, whose socket the environment names, it gets the same by itself. Within a VM devices have all of it.
//! docs/interfaces.md lists all three.

mod clock;
mod control;
mod files;
mod server;
mod shared;
mod sleep;
mod vm;

pub use clock::{counter, host_time};
pub use control::Control as Transport;
pub use files::{FileError, Module, Output};

use crate::ports::Store;
use crate::runs::{FIRST_LEN, Runs};
use crate::{FlowPages, SetupError};
use rustix::fd::OwnedFd;
use rustix::thread::CpuSet;
use shared::{Slot, inherited};
use sluice::{Access, PacketMemory, PeerSlice, Wait, WatchWord};
use sluice_abi::handover::FLOW_FILES;
use sluice_abi::run::Run;
use sluice_abi::{Gpa, PeerIdx, map};
use std::fmt::{Arguments, Display};
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
pub use std::thread::yield_now;
use std::time::Duration;
use std::{env, fs, io};

/// Longest sleep of a program that nobody wakes.
const TICK: Duration = Duration::from_millis(1);

/// This process in the role of a VM.
pub struct Vnf {
    args: &'static str,
    modules: Vec<String>,
    /// Folder of the modules.
    files: PathBuf,
    out: PathBuf,
    slot: Slot,
    /// Whether the host wakes this process when it sleeps.
    is_woken: bool,
    packets: Runs,
    /// Flow table and records, if this VNF has them, until they are used.
    flows: Option<FlowPages>,
}

/// Runs `main`. The exit code tells whether it failed.
pub fn start<E: Display>(main: impl FnOnce(&mut Vnf) -> Result<(), E>) -> ExitCode {
    let vnf = Vnf::from_host();
    match vnf.map_err(|error| error.to_string()).and_then(|mut vnf| main(&mut vnf).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(format_args!("error: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Makes `$main`, a `fn(&mut Vnf) -> Result<(), impl Display>`, what the program runs.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        fn main() -> std::process::ExitCode {
            $crate::start($main)
        }
    };
}

/// Gives an image a heap of `$bytes` bytes, for `extern crate alloc`. A Linux program has its own, and nothing is made
/// for it. The heap is for what a VNF sets up; frames are never there.
#[macro_export]
macro_rules! heap {
    ($bytes:expr) => {
        const _: usize = $bytes;
    };
}

/// Prints `arguments`.
pub fn print(arguments: Arguments<'_>) {
    // A launcher that went away reads nothing more, and the process ends by itself.
    let _ = io::stdout().lock().write_fmt(arguments);
}

impl Vnf {
    fn from_host() -> io::Result<Self> {
        pin();
        match env::var_os("SLUICE_SERVER") {
            Some(path) => Self::from_server(Path::new(&path)),
            None => Self::from_launcher(),
        }
    }

    /// Connects to the server at `path`: its socket, or within a VM a virtio-serial port that leads there. The
    /// arguments are those of the command line, unless the environment has some.
    fn from_server(path: &Path) -> io::Result<Self> {
        let args = env::var("SLUICE_ARGS").unwrap_or_else(|_| env::args().skip(1).collect::<Vec<_>>().join(" "));
        if fs::metadata(path).is_ok_and(|it| it.file_type().is_char_device()) {
            let vm::Handed { port, slot, ram } = vm::connect(path)?;
            vm::follow(port.try_clone()?)?;
            control::connect(port);
            return Ok(Self { is_woken: false, ..Self::new(args, slot, ram, None) });
        }
        let handed = server::connect(path)?;
        let sockets = [handed.control.try_clone()?, handed.places.try_clone()?];
        // The server ends who hangs up: an error has to be said before.
        Self::from_handed(args, handed).inspect_err(|_| std::mem::forget(sockets))
    }

    fn from_handed(args: String, handed: server::Handed) -> io::Result<Self> {
        let handed = match env::var_os("SLUICE_RAM") {
            Some(path) => server::give_ram(handed, Path::new(&path))?,
            None => handed,
        };
        let mut slot = Slot::reserve()?;
        let ram = slot.map(map::PACKETS, &handed.ram, 0)?;
        slot.map_directory(&handed.directory, 0)?;
        slot.map_request(&handed.request, 0)?;
        control::connect(handed.control);
        let flows = handed.flows.map(|files| map_flows(&mut slot, &files)).transpose()?;
        server::follow(handed.places, slot.peers())?;
        Ok(Self::new(args, slot, ram, flows))
    }

    fn from_launcher() -> io::Result<Self> {
        let peers = env::var("SLUICE_PEERS").ok().and_then(|count| count.parse::<u8>().ok());
        let peers = peers.ok_or_else(|| {
            io::Error::other(
                "no host: `cargo xtask demo --embedded` is one, or SLUICE_SERVER names a socket of sluiced",
            )
        })?;
        let mut slot = Slot::reserve()?;
        for index in 0..peers {
            slot.map(map::peer_base(PeerIdx(index)), &inherited(control::FIRST_PEER_FD + u16::from(index))?, 0)?;
        }
        let ram = slot.map(map::PACKETS, &inherited(control::RAM_FD)?, 0)?;
        slot.map_directory(&inherited(control::DIRECTORY_FD)?, 0)?;
        slot.map_request(&inherited(control::REQUEST_FD)?, 0)?;
        control::connect(inherited(control::CONTROL_FD)?);
        let flows = match env::var_os("SLUICE_FLOWS") {
            Some(_) => {
                let first = control::FIRST_PEER_FD + u16::from(peers);
                Some(map_flows(&mut slot, &[inherited(first)?, inherited(first + 1)?])?)
            }
            None => None,
        };
        Ok(Self::new(env::var("SLUICE_ARGS").unwrap_or_default(), slot, ram, flows))
    }

    fn new(args: String, slot: Slot, ram: PeerSlice<'static>, flows: Option<FlowPages>) -> Self {
        let folder = |name| env::var_os(name).map_or_else(PathBuf::new, PathBuf::from);
        Self {
            args: args.leak(),
            modules: env::var("SLUICE_MODULES").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            files: folder("SLUICE_FILES"),
            out: folder("SLUICE_OUT"),
            slot,
            is_woken: true,
            packets: Runs::new(Gpa(0), ram),
            flows,
        }
    }

    /// Returns the arguments.
    pub fn args(&self) -> &'static str {
        self.args
    }

    /// Returns the module named `name`; `None` if the manifest gives this VNF no such module.
    ///
    /// # Errors
    /// [`FileError`] if the module can't be opened.
    pub fn module(&self, name: &str) -> Option<Result<Module, FileError>> {
        self.module_path(name).map(|path| Module::open(&path))
    }

    /// Returns the text of the module named `name`; `None` as for [`Vnf::module`].
    ///
    /// # Errors
    /// [`FileError`] if the module can't be read or is not UTF-8.
    pub fn text(&self, name: &str) -> Option<Result<&'static str, FileError>> {
        self.module_path(name).map(|path| Ok(&*fs::read_to_string(path)?.leak()))
    }

    fn module_path(&self, name: &str) -> Option<PathBuf> {
        self.modules.iter().any(|known| known == name).then(|| self.files.join(name))
    }

    /// Returns a new file `name` in the launcher's output folder. The file is there once it is whole.
    ///
    /// # Errors
    /// [`FileError`] if the file can't be made.
    pub fn create(&self, name: &str) -> Result<Output, FileError> {
        Output::create(&self.out.join(name))
    }

    pub(crate) fn flow_pages(&mut self) -> Option<FlowPages> {
        self.flows.take()
    }

    /// Returns the memory that ports refer to. One is used, as [`Vnf::setup`] works once.
    pub(crate) fn store(&mut self) -> Option<&'static mut Store> {
        Some(Box::leak(Box::new(Store::new())))
    }

    /// Registers a first run of packet memory with the host, and returns what a [`sluice::Gate`] and a
    /// [`sluice::Mempool`] are made of. This works once per VNF: two gates, or two pools, would write over each other's
    /// frames.
    ///
    /// # Errors
    /// [`SetupError::Taken`] at a second call, [`SetupError::NoMemory`] without RAM, or the host's refusal.
    pub fn setup(&mut self) -> Result<(Access, PacketMemory), SetupError> {
        let pages = self.slot.access_pages()?;
        let run = self.packets.place(self.packets.ram_len().min(FIRST_LEN)).ok_or(SetupError::NoMemory)?;
        let memory = self.packets.insert(run).ok_or(SetupError::NoMemory)?;
        self.host_add_run(run)?;
        Ok((pages.access(memory), memory))
    }

    pub(crate) fn runs(&mut self) -> Result<&mut Runs, SetupError> {
        Ok(&mut self.packets)
    }

    pub(crate) fn host_add_run(&mut self, run: Run) -> Result<(), SetupError> {
        SetupError::check(Transport::new().add_run(run))
    }

    pub(crate) fn host_remove_run(&self, run: Run) -> Result<(), SetupError> {
        SetupError::check(Transport::new().remove_run(run))
    }

    /// Returns the registers of this process's network device, which the host emulates.
    pub fn transport(&self) -> Transport {
        Transport::new()
    }

    /// Lets another process run.
    pub fn yield_now(&self) {
        yield_now();
    }
}

impl Wait for Vnf {
    /// Sleeps on a futex at the word, which anyone who shares that memory may wake; within a VM that nobody wakes, for
    /// a millisecond at most.
    fn wait(&mut self, word: WatchWord, at_most: Duration) {
        if self.is_woken {
            sleep::until_changed(word, at_most);
        } else {
            std::thread::sleep(at_most.min(TICK));
        }
    }
}

/// Maps the flow table, for reading, and the records.
fn map_flows(slot: &mut Slot, [table, records]: &[OwnedFd; FLOW_FILES]) -> io::Result<FlowPages> {
    Ok(FlowPages { table: slot.map_read_only(map::FLOWS, table)?, records: slot.map(map::FLOW_RECORDS, records, 0)? })
}

/// Stays on the processor that the manifest names. The launcher passes no number of a processor that does not exist.
fn pin() {
    let cpu = env::var("SLUICE_CPU").ok().and_then(|cpu| cpu.parse().ok());
    if let Some(cpu) = cpu.filter(|cpu| *cpu < CpuSet::MAX_CPU) {
        let mut set = CpuSet::new();
        set.set(cpu);
        // Only speed depends on it.
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    #[test]
    fn memory_is_handed_out_once() {
        let mut slot = Slot::reserve().expect("addresses");
        let ram = PeerSlice::from_mut(vec![0u8; map::PAGE as usize].leak());
        let directory = memfd_create("directory", MemfdFlags::CLOEXEC).expect("a file");
        ftruncate(&directory, map::DIRECTORY_LEN).expect("room");
        slot.map_directory(&directory, 0).expect("room");
        let request = memfd_create("request", MemfdFlags::CLOEXEC).expect("a file");
        ftruncate(&request, map::PAGE).expect("room");
        slot.map_request(&request, 0).expect("room");
        let mut machine = Vnf {
            args: "",
            modules: Vec::new(),
            files: PathBuf::new(),
            out: PathBuf::new(),
            slot,
            is_woken: true,
            packets: Runs::new(Gpa(0), ram),
            flows: None,
        };
        // There is no launcher that would answer.
        assert!(matches!(machine.setup(), Err(SetupError::Refused(_))));
        for _ in 0..2 {
            assert_eq!(machine.setup().err(), Some(SetupError::Taken));
        }
    }
}
