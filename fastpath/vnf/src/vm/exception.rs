//! Exceptions: each ends the VM, and says what happened.

use super::console;
use super::cpu::Host;
use x86_64::registers::control::Cr2;

/// Exit code after an exception.
const EXIT_CODE: u64 = 102;

/// The stack that the stubs of [`super::cpu`] leave.
#[repr(C)]
pub struct ExceptionFrame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Prints what happened, and ends the VM.
pub extern "sysv64" fn report(frame: &ExceptionFrame) -> ! {
    console::print_last(format_args!(
        "exception {} ({}), error code {:#x}, at RIP {:#x}, RSP {:#x}, CR2 {:#x}\n",
        frame.vector,
        name(frame.vector),
        frame.error,
        frame.rip,
        frame.rsp,
        Cr2::read_raw()
    ));
    super::end(Host::found(), EXIT_CODE)
}

const fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        3 => "breakpoint",
        6 => "invalid opcode",
        8 => "double fault",
        13 => "general protection",
        14 => "page fault",
        18 => "machine check",
        _ => "see SDM volume 3, table 6-1",
    }
}
