//! The monitor's console: port 0xE9 in Bochs, else the first serial port. Its lines are never mixed.
#![allow(unsafe_code, reason = "port I/O")]

use crate::platform::stream::{self, Stream};
use core::fmt::{self, Write};
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};
use x86_64::instructions::port::Port;

const DEBUG_PORT: u16 = 0xe9;
const COM1: u16 = 0x3f8;

/// Where text goes. Bochs counts an instruction per byte at the debug port; a serial port has to be polled.
pub enum Sink {
    /// Not looked for yet.
    Unknown,
    /// Takes any number of bytes.
    Debug(Port<u8>),
    /// The port, and whether the carriage return before a line feed was sent.
    Serial(Uart16550<PioBackend>, bool),
    /// There is no console.
    Nowhere,
}

/// What all VMs, and the monitor, print to.
pub static STREAM: Mutex<Stream<Sink>> = Mutex::new(Stream::new(Sink::Unknown));

impl Sink {
    fn find() -> Self {
        let mut debug = Port::new(DEBUG_PORT);
        // SAFETY: reading the debug port has no effect; Bochs answers with the port's own number.
        if unsafe { debug.read() } == DEBUG_PORT as u8 {
            return Self::Debug(debug);
        }
        // SAFETY: COM1 is the monitor's alone.
        match unsafe { Uart16550::new_port(COM1) } {
            Ok(mut uart) => match uart.init(Config::default()) {
                Ok(()) => Self::Serial(uart, false),
                Err(_) => Self::Nowhere,
            },
            Err(_) => Self::Nowhere,
        }
    }
}

impl stream::Sink for Sink {
    fn send(&mut self, bytes: &[u8]) -> usize {
        if let Self::Unknown = self {
            *self = Self::find();
        }
        match self {
            Self::Debug(port) => {
                // SAFETY: a byte to the debug port is printed and nothing else.
                bytes.iter().for_each(|&byte| unsafe { port.write(byte) });
                bytes.len()
            }
            Self::Serial(uart, returned) => {
                let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                let sent = uart.send_bytes(text);
                sent + usize::from(sent == text.len() && text.len() < bytes.len() && feed_line(uart, returned))
            }
            Self::Unknown | Self::Nowhere => bytes.len(),
        }
    }
}

/// A terminal wants a carriage return before a line feed. Whether there was room for both.
fn feed_line(uart: &mut Uart16550<PioBackend>, returned: &mut bool) -> bool {
    let rest: &[u8] = if *returned { b"\n" } else { b"\r\n" };
    let sent = uart.send_bytes(rest);
    *returned = sent < rest.len() && (*returned || sent == 1);
    sent == rest.len()
}

impl Write for Stream<Sink> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.send_now(text.as_bytes());
        Ok(())
    }
}

/// Prints one line of the monitor's own, at once; [`crate::println`] is the way to call it.
pub fn own_line(text: fmt::Arguments) {
    // Writing to the stream does not fail.
    let _ = writeln!(STREAM.lock(), "[monitor] {text}");
}

/// Prints a line of the monitor's own that is about no VM: before they run, or after.
#[macro_export]
macro_rules! println {
    ($($arguments:tt)*) => { $crate::platform::console::own_line(format_args!($($arguments)*)) };
}

/// Takes the console away from whoever holds it; for the last words of a processor that found a fault.
///
/// # Safety
/// The caller must not return to the code that may have held it.
pub unsafe fn seize() {
    // SAFETY: the holder, if any, never runs again or its line is broken, which the caller accepts.
    unsafe { STREAM.force_unlock() };
}
