//! The end of the monitor.
#![allow(unsafe_code, reason = "port I/O")]

use crate::println;
use core::fmt::Display;
use x86_64::instructions::{hlt, port::Port};

/// Bochs: with its debugger, `D` at this port is a break. See: Bochs user manual, "Port 0x8900".
const BOCHS_CONTROL: u16 = 0x8900;
/// QEMU: `-device isa-debug-exit,iobase=0xf4` ends it with twice the value plus one.
const QEMU_EXIT: u16 = 0xf4;

/// Prints the verdict, ends the emulator if it is one, and stops this processor.
pub fn finish(verdict: Result<(), impl Display>) -> ! {
    match &verdict {
        Ok(()) => println!("RESULT pass"),
        Err(reason) => println!("RESULT fail: {reason}"),
    }
    // SAFETY: on a real machine nothing decodes these ports.
    unsafe {
        Port::new(BOCHS_CONTROL).write(b'D');
        Port::new(QEMU_EXIT).write(u8::from(verdict.is_err()));
    }
    loop {
        hlt();
    }
}
