//! The VM's console: text is gathered into lines, and each line costs one hypercall.
//!
//! The buffer is made of atomics and not behind a lock: an exception may interrupt a line half printed, and prints
//! behind that.

use super::cpu::Host;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};

/// Bytes that are gathered at most before they are sent without a line's end.
const CAPACITY: usize = 2048;

static BYTES: [AtomicU8; CAPACITY] = [const { AtomicU8::new(0) }; CAPACITY];
static LEN: AtomicUsize = AtomicUsize::new(0);
/// Text is being formatted.
static IS_PRINTING: AtomicBool = AtomicBool::new(false);

/// Text for the console.
struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(push);
        Ok(())
    }
}

fn push(byte: u8) {
    let at = LEN.load(Relaxed);
    BYTES[at].store(byte, Relaxed);
    LEN.store(at + 1, Relaxed);
    if byte == b'\n' || at + 1 == CAPACITY {
        flush();
    }
}

/// Sends the text that no line's end has sent.
pub fn flush() {
    let text = &BYTES[..LEN.load(Relaxed)];
    if let (Some(host), false) = (Host::found(), text.is_empty()) {
        // Nobody can be told of a console that refuses.
        let _ = host.console(text);
    }
    LEN.store(0, Relaxed);
}

/// Prints `arguments`.
pub fn print(arguments: fmt::Arguments<'_>) {
    IS_PRINTING.store(true, Relaxed);
    // Only the caller's `Display` can fail.
    let _ = Console.write_fmt(arguments);
    IS_PRINTING.store(false, Relaxed);
}

/// Prints `arguments` as the last words of a VM that may have stopped in the middle of printing.
pub fn print_last(arguments: fmt::Arguments<'_>) {
    if IS_PRINTING.load(Relaxed) {
        print(format_args!("\n"));
    }
    print(arguments);
    flush();
}
