//! What an example needs before its `main`: one API on two kinds of machine.
//!
//! As an image of the monitor (`target_os = "none"`) a `Vnf` is a VM; as a Linux program it is a process that the launcher
//! started, which shares its memory with its peers. The examples are the same source for both.
//!
//! ```text
//! sluice_vnf::main!(main);
//!
//! fn main(machine: &mut Vnf) -> Result<(), Error> {
//!     let (gate, memory) = machine.connect()?;
//!     println!("gate {}", gate.kind().name());
//!     Ok(())
//! }
//! ```
#![cfg_attr(target_os = "none", no_std)]

#[cfg(not(target_os = "none"))]
#[path = "process/mod.rs"]
mod machine;
#[cfg(target_os = "none")]
#[path = "vm/mod.rs"]
mod machine;

pub mod clock;
mod connect;
mod patience;
mod ports;
mod runs;

pub use connect::Error;
pub use machine::{FileError, Module, Output, Transport, Vnf, print, start};
pub use patience::Patience;
pub use ports::{MAX_PAIRS, Net, Options, Ports};
pub use sluice::*;
pub use sluice_abi as abi;

use sluice_abi::run::RunRefusal;

/// Why a VNF can't reach its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// There is no memory for packets.
    #[error("no memory for packets: give the VM more RAM")]
    NoMemory,
    /// It was set up before, and its memory is in use.
    #[error("packet memory was handed out before")]
    Taken,
    /// The host refused to register the memory.
    #[error("the host refuses to register packet memory: {0:?}")]
    Refused(Status),
    /// The host refused to add or remove a run.
    #[error("the host refuses a run of packet memory: {0}")]
    Run(RunRefusal),
    /// This is no run that [`Vnf::add_run`] or [`Vnf::setup`] handed out, or it was removed.
    #[error("no such run of packet memory was handed out")]
    NoSuchRun,
    /// A call is under way, and takes packets from the memory that was registered before.
    #[error("packet memory can't change while a call is under way")]
    Busy,
}

impl SetupError {
    /// What `status` says of a registration.
    fn check(status: Status) -> Result<(), Self> {
        match (status, status.refusal()) {
            (Status::OK, _) => Ok(()),
            (_, Some(why)) => Err(Self::Run(why)),
            (status, None) => Err(Self::Refused(status)),
        }
    }
}

/// Prints a line on the machine's console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => { $crate::print(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Makes `$main`, a `fn(&mut Vnf) -> Result<(), impl Display>`, what the program runs.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[allow(unsafe_code, reason = "the first instruction of the image, and what the monitor promised it")]
        const _: () = {
            /// The monitor enters here, with the boot information's address in RDI; the stack is the image's own (the linker script of `sluice-build`).
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            extern "sysv64" fn _start() -> ! {
        core::arch::naked_asm!("lea rsp, [rip + __stack_top]", "call {run}", "ud2", run = sym run_image)
            }

            extern "sysv64" fn run_image(boot: u64) -> ! {
                // SAFETY: called once, by `_start`.
                unsafe { $crate::start(boot, $main) }
            }
        };
    };
}

/// Makes `$main`, a `fn(&mut Vnf) -> Result<(), impl Display>`, what the program runs.
#[cfg(not(target_os = "none"))]
#[macro_export]
macro_rules! main {
    ($main:path) => {
        fn main() -> std::process::ExitCode {
            $crate::start($main)
        }
    };
}
