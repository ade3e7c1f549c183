//! The image as a Linux process, started by the launcher: RAM is a memfd that its senders map, too.
//!
//! The launcher hands over file descriptors of fixed numbers and a few environment variables; docs/interfaces.md lists them.

mod clock;
mod control;
mod files;
mod mapping;
mod sleep;

pub use clock::{counter, now};
pub use control::Control as Transport;
pub use files::{FileError, Module, Output};

use crate::SetupError;
use crate::ports::Store;
use mapping::Slot;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::thread::CpuSet;
use sluice::{Access, PacketMemory, Wait, WatchWord};
use sluice_abi::{Gpa, map};
use std::fmt::{Arguments, Display};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
pub use std::thread::yield_now;
use std::time::Duration;
use std::{env, io};

/// This process in the role of a VM.
pub struct Vnf {
    args: &'static str,
    modules: Vec<String>,
    /// Where they are.
    files: PathBuf,
    out: PathBuf,
    /// Until it is handed out.
    memory: Option<Memory>,
}

struct Memory {
    slot: Slot,
    ram: sluice::PeerSlice<'static>,
    directory: sluice::PeerSlice<'static>,
}

/// Runs `main`; whether it failed is the exit code.
pub fn start<E: Display>(main: impl FnOnce(&mut Vnf) -> Result<(), E>) -> ExitCode {
    let vnf = Vnf::from_launcher();
    match vnf.map_err(|error| error.to_string()).and_then(|mut vnf| main(&mut vnf).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(format_args!("error: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Prints `arguments`.
pub fn print(arguments: Arguments<'_>) {
    // A launcher that went away reads nothing; the process ends by itself.
    let _ = io::stdout().lock().write_fmt(arguments);
}

impl Vnf {
    fn from_launcher() -> io::Result<Self> {
        let peers = env::var("SLUICE_PEERS").ok().and_then(|count| count.parse::<u8>().ok());
        let peers = peers
            .ok_or_else(|| io::Error::other("not started by sluice-launcher: see `cargo xtask demo --embedded`"))?;
        pin();
        let folder = |name| env::var_os(name).map_or_else(PathBuf::new, PathBuf::from);
        let slot = Slot::reserve()?;
        for index in 0..peers {
            slot.map(map::peer_base(index), &borrow(control::FIRST_PEER_FD + i32::from(index))?)?;
        }
        let ram = slot.map(map::PACKETS, &borrow(control::RAM_FD)?)?;
        let directory = slot.map_read_only(map::DIRECTORY, &borrow(control::DIRECTORY_FD)?)?;
        Ok(Self {
            args: env::var("SLUICE_ARGS").unwrap_or_default().leak(),
            modules: env::var("SLUICE_MODULES").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            files: folder("SLUICE_FILES"),
            out: folder("SLUICE_OUT"),
            memory: Some(Memory { slot, ram, directory }),
        })
    }

    /// The arguments.
    pub fn args(&self) -> &'static str {
        self.args
    }

    /// The module named `name`; `None` if the manifest gives this VNF no such.
    pub fn module(&self, name: &str) -> Option<Result<Module, FileError>> {
        self.modules.iter().any(|known| known == name).then(|| Module::open(&self.files.join(name)))
    }

    /// A new file `name` in the launcher's output folder. It is there once it is whole.
    pub fn create(&self, name: &str) -> Result<Output, FileError> {
        Output::create(&self.out.join(name))
    }

    /// What ports refer to: the first time, as [`Vnf::setup`] works once.
    pub(crate) fn store(&mut self) -> Option<&'static mut Store> {
        Some(Box::leak(Box::new(Store::new())))
    }

    /// What a [`sluice::Gate`] and a [`sluice::Mempool`] are made of. Once per VNF: two gates, or two pools, would write over each other's
    /// frames.
    pub fn setup(&mut self) -> Result<(Access, PacketMemory), SetupError> {
        hand_out(&mut self.memory)
    }

    /// The registers of this process's network device: the launcher answers.
    pub fn transport(&self) -> Transport {
        Transport::new()
    }

    /// Lets another process run.
    pub fn yield_now(&self) {
        yield_now();
    }
}

impl Wait for Vnf {
    /// Sleeps on a futex, which whoever shares the memory of the word may wake.
    fn wait(&mut self, word: WatchWord, at_most: Duration) {
        sleep::until_changed(word, at_most);
    }
}

/// What a VNF that has `memory` reaches its peers with; the VNF has it no more.
fn hand_out(memory: &mut Option<Memory>) -> Result<(Access, PacketMemory), SetupError> {
    let Memory { slot, ram, directory } = memory.take().ok_or(SetupError::Taken)?;
    let request = mapping::private_page().map_err(|_| SetupError::NoMemory)?;
    let access = Access { directory, request, packets: ram, slot: slot.base() };
    Ok((access, PacketMemory::new(Gpa(0), ram).ok_or(SetupError::NoMemory)?))
}

/// Stays on the processor that the manifest names; the launcher passes no number that there isn't.
fn pin() {
    let cpu = env::var("SLUICE_CPU").ok().and_then(|cpu| cpu.parse().ok());
    if let Some(cpu) = cpu.filter(|cpu| *cpu < CpuSet::MAX_CPU) {
        let mut set = CpuSet::new();
        set.set(cpu);
        // Only speed depends on it.
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
}

fn borrow(number: i32) -> io::Result<OwnedFd> {
    control::inherited(number, |fd: BorrowedFd<'_>| fd.try_clone_to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_handed_out_once() {
        let [ram, directory] = [(); 2].map(|()| mapping::private_page().expect("a page"));
        let mut memory = Some(Memory { slot: Slot::reserve().expect("addresses"), ram, directory });
        let (access, packets) = hand_out(&mut memory).expect("the first time");
        assert_eq!((access.packets.as_ptr(), packets.memory.as_ptr()), (ram.as_ptr(), ram.as_ptr()));
        for _ in 0..2 {
            assert_eq!(hand_out(&mut memory).err(), Some(SetupError::Taken));
        }
    }
}
