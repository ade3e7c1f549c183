//! The image as a VM of the monitor: no operating system, an allocator only if the VNF asks for one, RAM mapped one to one.
//!
//! The monitor enters `_start` (made by [`crate::main!`]) as abi/src/boot.rs says; `start` makes exceptions speak, reads the
//! boot information and runs the image's `main`.
//!
//! # Why no interrupts but in a sleep
//! A poll-mode VNF waits for nothing. Without interrupts there is nobody to interrupt a line half printed or a view half
//! switched, and the VM's exits are those it asks for. A VNF that sleeps (`sleep`) stands at one instruction.

mod boot;
mod clock;
mod console;
mod exception;
mod files;
mod heap;
mod host;
mod memory;
mod sleep;

pub use clock::{counter, now};
pub use console::print;
pub use files::{FileError, Module, Output};
pub use heap::Heap;
pub use host::yield_now;

use crate::SetupError;
use crate::ports::Store;
use crate::runs::{FIRST_LEN, Runs};
use boot::Boot;
use core::fmt::Display;
use core::panic::PanicInfo;
use core::time::Duration;
use sluice::{Access, PacketMemory, Wait, WatchWord};
use sluice_abi::run::Run;
use sluice_abi::{Gpa, map};
pub use sluice_driver::VirtioMmio as Transport;
use sluice_memory::PeerSlice;

/// Exit code after a panic.
const PANICKED: u64 = 101;

/// What [`crate::Ports`] refer to. It is too large for the stack.
static mut STORE: Store = Store::new();

/// This VM.
pub struct Vnf {
    boot: Boot,
    packets: Option<Runs>,
    /// The gate and the first run were handed out.
    taken: bool,
    store: Option<&'static mut Store>,
}

/// Runs `main` in the VM whose boot information is at `boot`; whether it failed is the VM's exit code.
///
/// # Safety
/// Called once, by `_start`, with what the monitor put into RDI, on the image's own stack.
#[allow(unsafe_code, reason = "the first function of an image")]
pub unsafe fn start<E: Display>(boot: u64, main: impl FnOnce(&mut Vnf) -> Result<(), E>) -> ! {
    exception::install();
    // SAFETY: the contract above.
    let boot = unsafe { Boot::read(Gpa(boot)) };
    let (free, end) = boot.free();
    // SAFETY: the monitor says that this RAM is nobody's, and the stack is the image's own. Nobody asks twice.
    let packets = unsafe { memory::packet_memory(free, end) };
    // SAFETY: nothing else refers to it, and this function is called once.
    let store = Some(unsafe { &mut *(&raw mut STORE) });
    match main(&mut Vnf { boot, packets, taken: false, store }) {
        Ok(()) => exit(0),
        Err(error) => {
            print(format_args!("error: {error}\n"));
            exit(1)
        }
    }
}

/// Ends the VM.
pub fn exit(code: u64) -> ! {
    console::flush();
    host::exit(code)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    console::print_last(format_args!("{info}\n"));
    host::exit(PANICKED)
}

#[allow(unsafe_code, reason = "shared memory at fixed places")]
impl Vnf {
    /// The arguments.
    pub fn args(&self) -> &'static str {
        self.boot.args()
    }

    /// The module named `name`; `None` if the manifest gives this VNF no such. Modules lie in the VM's RAM: they can't be larger than that.
    pub fn module(&self, name: &str) -> Option<Result<Module, FileError>> {
        self.boot.module(name).map(|bytes| Ok(Module::new(bytes)))
    }

    /// The text of the module named `name`; `None` as for [`Vnf::module`].
    ///
    /// # Errors
    /// The module can't be read, or is no UTF-8.
    pub fn text(&self, name: &str) -> Option<Result<&'static str, FileError>> {
        self.boot.module(name).map(|bytes| core::str::from_utf8(bytes).map_err(|_| FileError::NotText))
    }

    /// A new file `name` of the host's. It is whole once its last console line says so.
    pub fn create(&self, name: &'static str) -> Result<Output, FileError> {
        Ok(Output::new(name))
    }

    /// Registers request block and a first run of packet memory with the host: what a [`sluice::Gate`] and a [`sluice::Mempool`] are made of. Once per
    /// VNF: two gates, or two pools, would write over each other's frames.
    pub fn setup(&mut self) -> Result<(Access, PacketMemory), SetupError> {
        if core::mem::replace(&mut self.taken, true) {
            return Err(SetupError::Taken);
        }
        let (request_gpa, request) = memory::request_block();
        // SAFETY: the page was made for this, and only PeerSlices lead to it.
        SetupError::check(unsafe { host::register(request_gpa) })?;
        let runs = self.runs()?;
        let run = runs.place(runs.ram_len().min(FIRST_LEN)).ok_or(SetupError::NoMemory)?;
        let memory = runs.insert(run).ok_or(SetupError::NoMemory)?;
        self.host_add_run(run)?;
        let directory = (map::SLOT_VA + map::DIRECTORY) as *mut u8;
        // SAFETY: the host maps these pages for as long as the VM runs. They are read-only there: nobody writes through this slice.
        let directory = unsafe { PeerSlice::from_raw(directory, map::DIRECTORY_LEN) };
        let (slot, state) = (map::SLOT_VA as *mut u8, memory::window_state());
        Ok((Access { directory, request, packets: memory.memory, slot, state }, memory))
    }

    pub(crate) fn runs(&mut self) -> Result<&mut Runs, SetupError> {
        self.packets.as_mut().ok_or(SetupError::NoMemory)
    }

    pub(crate) fn host_add_run(&self, run: Run) -> Result<(), SetupError> {
        // SAFETY: the run is of free RAM that only PeerSlices lead to.
        SetupError::check(unsafe { host::add_run(run) })
    }

    pub(crate) fn host_remove_run(&self, run: Run) -> Result<(), SetupError> {
        SetupError::check(host::remove_run(run))
    }

    /// What ports refer to: the first time.
    pub(crate) fn store(&mut self) -> Option<&'static mut Store> {
        self.store.take()
    }

    /// The registers of this VM's network device.
    pub fn transport(&self) -> Transport {
        // SAFETY: the host emulates the registers there for as long as the VM runs; the boot page tables map them one to one.
        unsafe { Transport::new(map::MMIO_GPA as *mut u32) }
    }

    /// Gives the CPU away, if it is shared.
    pub fn yield_now(&self) {
        host::yield_now();
    }
}

impl Wait for Vnf {
    /// Halts the VM until its device interrupts it, or its timer expires, and replaces whatever the timer was armed for. Where the host has no
    /// timer, the VM gives its turn away.
    fn wait(&mut self, word: WatchWord, at_most: Duration) {
        if word.memory.read::<u32>(0) == Ok(word.seen) {
            sleep::halt(&mut self.transport(), at_most);
        }
    }
}
