//! The image as a VM of the monitor: no operating system, an allocator only if the VNF asks for one, RAM mapped one to
//! one.
//!
//! The monitor enters `_start` (made by [`crate::main!`]) as abi/src/boot.rs says. `cpu` makes exceptions print, and
//! finds host and memory; then the image's `main` runs.
//!
//! # Why no interrupts but in a sleep
//! A poll-mode VNF waits for nothing. Without interrupts there is nobody to interrupt a line half printed or a view
//! half switched, and the VM's exits are those it asks for. A VNF that sleeps (`sleep`) stands at one instruction.

mod clock;
mod console;
mod cpu;
mod exception;
mod files;
mod memory;
mod sleep;

pub use clock::{counter, host_time};
pub use console::print;
pub use cpu::start;
pub use files::{FileError, Module, Output};
pub use memory::Heap;

use crate::ports::Store;
use crate::runs::{FIRST_LEN, Runs};
use crate::{FlowPages, SetupError};
use core::fmt::Display;
use core::panic::PanicInfo;
use core::time::Duration;
use cpu::Host;
use memory::Memory;
use sluice::{Access, PacketMemory, Wait, WatchWord};
use sluice_abi::run::Run;
pub use sluice_driver::VirtioMmio as Transport;

/// Exit code after a panic.
const PANICKED: u64 = 101;

/// This VM.
pub struct Vnf {
    host: Host,
    memory: Memory,
}

/// Runs `main`, and ends the VM.
fn run<E: Display>(vnf: &mut Vnf, main: impl FnOnce(&mut Vnf) -> Result<(), E>) -> ! {
    let code = match main(vnf) {
        Ok(()) => 0,
        Err(error) => {
            print(format_args!("error: {error}\n"));
            1
        }
    };
    console::flush();
    vnf.host.exit(code)
}

/// Ends the VM with exit code `code`; before there is a host, there is nobody to end it.
fn end(host: Option<Host>, code: u64) -> ! {
    if let Some(host) = host {
        host.exit(code)
    }
    loop {
        x86_64::instructions::hlt();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    console::print_last(format_args!("{info}\n"));
    end(Host::found(), PANICKED)
}

/// Gives the CPU away, if it is shared.
pub fn yield_now() {
    if let Some(host) = Host::found() {
        host.yield_now();
    }
}

impl Vnf {
    pub(crate) fn flow_pages(&mut self) -> Option<FlowPages> {
        self.memory.flow_pages()
    }

    /// Returns the arguments.
    pub fn args(&self) -> &'static str {
        self.memory.args()
    }

    /// Returns the module named `name`; `None` if the manifest gives this VNF no such. Modules lie in the VM's RAM:
    /// they can't be larger than that.
    pub fn module(&self, name: &str) -> Option<Result<Module, FileError>> {
        self.memory.module(name).map(|bytes| Ok(Module::new(bytes)))
    }

    /// Returns the text of the module named `name`; `None` as for [`Vnf::module`].
    ///
    /// # Errors
    /// [`FileError`], if the module can't be read or is not UTF-8.
    pub fn text(&self, name: &str) -> Option<Result<&'static str, FileError>> {
        self.memory.module(name).map(|bytes| core::str::from_utf8(bytes).map_err(|_| FileError::NotText))
    }

    /// Returns a new file `name` of the host's. The file is whole once its last console line says so.
    pub fn create(&self, name: &'static str) -> Result<Output, FileError> {
        Ok(Output::new(name))
    }

    /// Registers request block and a first run of packet memory with the host, and returns what a [`sluice::Gate`] and
    /// a [`sluice::Mempool`] are made of. This works once per VNF: two gates, or two pools, would write over each
    /// other's frames.
    ///
    /// # Errors
    /// [`SetupError::Taken`] at a second call, [`SetupError::NoMemory`] without RAM, or the host's refusal.
    pub fn setup(&mut self) -> Result<(Access, PacketMemory), SetupError> {
        let pages = self.memory.pages.take().ok_or(SetupError::Taken)?;
        let runs = self.runs()?;
        let run = runs.place(runs.ram_len().min(FIRST_LEN)).ok_or(SetupError::NoMemory)?;
        let memory = runs.insert(run).ok_or(SetupError::NoMemory)?;
        Ok((pages.register(self.host, memory)?, memory))
    }

    pub(crate) fn runs(&mut self) -> Result<&mut Runs, SetupError> {
        self.memory.packets.as_mut().ok_or(SetupError::NoMemory)
    }

    pub(crate) fn host_add_run(&mut self, run: Run) -> Result<(), SetupError> {
        let memory = self.runs()?.memory(&run).ok_or(SetupError::NoMemory)?;
        SetupError::check(self.host.add_run(memory.memory, run.offset))
    }

    pub(crate) fn host_remove_run(&self, run: Run) -> Result<(), SetupError> {
        SetupError::check(self.host.remove_run(run.offset, run.len))
    }

    /// Returns what ports refer to, the first time.
    pub(crate) fn store(&mut self) -> Option<&'static mut Store> {
        self.memory.store.take()
    }

    /// Returns the registers of this VM's network device.
    pub fn transport(&self) -> Transport {
        Transport::new(self.memory.registers())
    }

    /// Gives the CPU away, if it is shared.
    pub fn yield_now(&self) {
        self.host.yield_now();
    }
}

impl Wait for Vnf {
    /// Halts the VM until its device interrupts it, or its timer expires, and replaces whatever the timer was armed
    /// for. Where the host has no timer, the VM gives its turn away.
    fn wait(&mut self, word: WatchWord, at_most: Duration) {
        if word.memory.read::<u32>(0) == Ok(word.seen) {
            sleep::halt(self.host, &mut self.transport(), at_most);
        }
    }
}
