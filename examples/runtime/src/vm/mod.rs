//! The image as a VM of the monitor: no operating system, no allocator, RAM mapped one to one.
//!
//! The monitor enters `_start` (made by [`crate::entry!`]) as abi/src/boot.rs says; [`start`] makes exceptions speak, reads the
//! boot information and runs the image's `main`.
//!
//! # Why no interrupts
//! A poll-mode VNF waits for nothing. Without interrupts there is nobody to interrupt a line half printed or a view half
//! switched, and the VM's exits are those it asks for.

mod boot;
mod console;
mod exception;
mod host;
mod memory;
mod ticks;

pub use console::print;
pub use host::{exit_counts, yield_now};
pub use ticks::{are_instructions as ticks_are_instructions, now as ticks};

use boot::Boot;
use core::panic::PanicInfo;
use sluice_abi::call::Status;
use sluice_abi::{Gpa, map};
use sluice_memory::PeerSlice;

/// Exit code after a panic.
const PANICKED: u64 = 101;
/// Bytes of a file in one console line.
const FILE_LINE: usize = 512;

/// This VM.
pub struct Machine {
    boot: Boot,
    packets: Option<(Gpa, PeerSlice<'static>)>,
}

/// Runs `main` in the VM whose boot information is at `boot`; its result is the VM's exit code.
///
/// # Safety
/// Called once, by `_start`, with what the monitor put into RDI.
#[allow(unsafe_code, reason = "the first function of an image")]
pub unsafe fn start(boot: u64, main: impl FnOnce(Machine) -> u8) -> ! {
    exception::install();
    // SAFETY: the contract above.
    let boot = unsafe { Boot::read(Gpa(boot)) };
    let (free, end) = boot.free();
    // SAFETY: the monitor says that this RAM is nobody's, and the stack is the image's own. Nobody asks twice.
    let packets = unsafe { memory::packet_memory(free, end) };
    exit(u64::from(main(Machine { boot, packets })))
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
impl Machine {
    /// The arguments.
    pub fn args(&self) -> &'static str {
        self.boot.args()
    }

    /// The module named `name`.
    pub fn module(&self, name: &str) -> Option<&'static [u8]> {
        self.boot.module(name)
    }

    /// Prints `bytes` as lines `file NAME HEX`, and at last `file NAME end`, from which the host can make a file.
    pub fn write_file(&self, name: &str, bytes: &[u8]) {
        for piece in bytes.chunks(FILE_LINE) {
            print(format_args!("file {name} {}\n", Hex(piece)));
        }
        print(format_args!("file {name} end\n"));
    }

    /// Packet memory: its place in this VM's RAM, and the memory.
    pub fn packet_memory(&self) -> Option<(Gpa, PeerSlice<'static>)> {
        self.packets
    }

    /// The request block.
    pub fn request_block(&self) -> PeerSlice<'static> {
        memory::request_block().1
    }

    /// Registers packet memory and request block with the host.
    pub fn register(&self) -> Status {
        let Some((packets, slice)) = self.packets else { return Status::new(sluice_abi::call::Code::NotRegistered) };
        // SAFETY: both were made for this, and only PeerSlices lead to them.
        unsafe { host::register(packets, slice.len(), memory::request_block().0) }
    }

    /// The page of the window directory.
    pub fn directory_page(&self) -> PeerSlice<'static> {
        let at = map::SLOT_VA + map::DIRECTORY;
        // SAFETY: the host maps the page for as long as the VM runs. It is read-only there: nobody writes through this slice.
        unsafe { PeerSlice::from_raw(at as *mut u8, map::PAGE) }
    }

    /// First byte of the sluice slot.
    pub fn slot(&self) -> *mut u8 {
        map::SLOT_VA as *mut u8
    }
}

/// Writes bytes as hexadecimal digits.
struct Hex<'b>(&'b [u8]);

impl core::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
