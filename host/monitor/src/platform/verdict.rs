//! The end of the monitor.

use crate::platform::console;
use crate::platform::cpu::Port;
use crate::println;
use core::fmt::Display;
use x86_64::instructions::hlt;

/// Prints the verdict, ends the emulator if there is one, and stops this processor.
pub fn finish(verdict: Result<(), impl Display>) -> ! {
    match &verdict {
        Ok(()) => println!("RESULT pass"),
        Err(reason) => println!("RESULT fail: {reason}"),
    }
    stop(verdict.is_ok())
}

/// Does the same for a fault in the monitor itself, whose code may hold any lock.
pub fn finish_faulted(reason: impl Display) -> ! {
    console::last_line(format_args!("RESULT fail: {reason}"));
    stop(false)
}

/// Ends the emulator, if there is one, and stops this processor. On a real machine nothing decodes these ports.
fn stop(passed: bool) -> ! {
    Port::BochsControl.write(b'D');
    Port::QemuExit.write(u8::from(!passed));
    loop {
        hlt();
    }
}
