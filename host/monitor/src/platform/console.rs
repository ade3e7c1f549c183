//! The monitor's console: port 0xE9 in Bochs, else the first serial port. Its lines are never mixed.

use crate::platform::cpu::{self, Port};
use crate::platform::stream::{self, Stream};
use core::fmt::{self, Write};
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};

/// The device that prints. Bochs takes one instruction for a byte at the debug port; a serial port has to be polled.
pub enum Sink {
    /// No device was looked for yet.
    Unknown,
    /// The debug port of Bochs, which takes any number of bytes.
    Debug,
    /// A serial port, and whether the carriage return before a line feed was sent.
    Serial(Uart16550<PioBackend>, bool),
    /// There is no console.
    Nowhere,
}

/// The stream to which all VMs and the monitor print.
pub static STREAM: Mutex<Stream<Sink>> = Mutex::new(Stream::new(Sink::Unknown));

impl Sink {
    fn find() -> Self {
        if Port::DebugConsole.read() == Port::DebugConsole as u8 {
            return Self::Debug;
        }
        let Some(mut uart) = cpu::serial_port() else { return Self::Nowhere };
        if uart.init(Config::default()).is_ok() { Self::Serial(uart, false) } else { Self::Nowhere }
    }
}

impl stream::Sink for Sink {
    fn send(&mut self, bytes: &[u8]) -> usize {
        if let Self::Unknown = self {
            *self = Self::find();
        }
        match self {
            Self::Debug => {
                bytes.iter().for_each(|&byte| Port::DebugConsole.write(byte));
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

/// Sends the carriage return and the line feed that end a line on a terminal. Returns whether there was room for both.
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

/// Prints one line of the monitor's own at once. [`crate::println`] is the way to call this.
pub fn own_line(text: fmt::Arguments) {
    // Writing to the stream does not fail.
    let _ = writeln!(STREAM.lock(), "[monitor] {text}");
}

/// Prints a line of the monitor's own that is about no VM, before the first VM runs or after the last.
#[macro_export]
macro_rules! println {
    ($($arguments:tt)*) => { $crate::platform::console::own_line(format_args!($($arguments)*)) };
}

/// Prints the last line of a processor that found a fault in the monitor, by a stream of its own: the lock of the other
/// may be held by the code that the fault interrupted. A line that is in hand is broken.
pub fn last_line(text: fmt::Arguments) {
    // Writing to the stream does not fail.
    let _ = writeln!(Stream::new(Sink::Unknown), "\n[monitor] {text}");
}
