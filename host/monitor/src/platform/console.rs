//! The monitor's console: port 0xE9 in Bochs, else the first serial port. One line at a time, never mixed.
#![allow(unsafe_code, reason = "port I/O")]

use core::fmt::{self, Write};
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};
use x86_64::instructions::port::Port;

const DEBUG_PORT: u16 = 0xe9;
const COM1: u16 = 0x3f8;

/// Where text goes. Bochs counts an instruction per byte at the debug port; a serial port has to be polled.
enum Sink {
    Unknown,
    Debug(Port<u8>),
    Serial(Uart16550<PioBackend>),
    Nowhere,
}

static SINK: Mutex<Sink> = Mutex::new(Sink::Unknown);

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
                Ok(()) => Self::Serial(uart),
                Err(_) => Self::Nowhere,
            },
            Err(_) => Self::Nowhere,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if let Self::Unknown = self {
            *self = Self::find();
        }
        match self {
            // SAFETY: a byte to the debug port is printed and nothing else.
            Self::Debug(port) => bytes.iter().for_each(|&byte| unsafe { port.write(byte) }),
            Self::Serial(uart) => bytes.iter().for_each(|byte| {
                if *byte == b'\n' {
                    uart.send_bytes_exact(b"\r");
                }
                uart.send_bytes_exact(core::slice::from_ref(byte));
            }),
            Self::Unknown | Self::Nowhere => {}
        }
    }
}

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.send(text.as_bytes());
        Ok(())
    }
}

/// Prints one line of the VM named `name`.
pub fn vm_line(name: &str, line: &[u8]) {
    let mut sink = SINK.lock();
    for part in [b"[", name.as_bytes(), b"] ", line, b"\n"] {
        sink.send(part);
    }
}

/// Prints one line of the monitor's own; [`crate::println`] is the way to call it.
pub fn own_line(text: fmt::Arguments) {
    // Writing to a sink does not fail.
    let _ = writeln!(SINK.lock(), "[monitor] {text}");
}

/// Prints a line of the monitor's own.
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
    unsafe { SINK.force_unlock() };
}
