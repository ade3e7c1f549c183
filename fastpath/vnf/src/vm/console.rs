//! The VM's console: text is gathered into lines, and each line costs one hypercall.

use super::host;
use core::fmt::{self, Write};
use spin::Mutex;

/// Bytes gathered before they are sent even without a line's end.
const CAPACITY: usize = 2048;

static CONSOLE: Mutex<Buffer> = Mutex::new(Buffer { bytes: [0; CAPACITY], len: 0 });

struct Buffer {
    bytes: [u8; CAPACITY],
    len: usize,
}

impl Buffer {
    fn flush(&mut self) {
        if self.len > 0 {
            // A console that refuses can't be told about.
            let _ = host::console(&self.bytes[..self.len]);
        }
        self.len = 0;
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
        if byte == b'\n' || self.len == CAPACITY {
            self.flush();
        }
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

/// Prints `arguments`.
pub fn print(arguments: fmt::Arguments<'_>) {
    // One line is never interrupted by another: the VM has one CPU and no interrupts. What fails is the caller's Display.
    let _ = CONSOLE.lock().write_fmt(arguments);
}

/// Prints `arguments` as the last words of a VM that may have stopped in the middle of printing.
#[allow(unsafe_code, reason = "the lock's holder never runs again")]
pub fn print_last(arguments: fmt::Arguments<'_>) {
    if CONSOLE.is_locked() {
        // SAFETY: one CPU, no interrupts; the holder was left for a panic or an exception, from which nothing returns.
        unsafe { CONSOLE.force_unlock() };
        print(format_args!("\n"));
    }
    print(arguments);
    flush();
}

/// Sends what no line's end has sent.
pub fn flush() {
    CONSOLE.lock().flush();
}
