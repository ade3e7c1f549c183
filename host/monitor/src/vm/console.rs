//! One console per VM: whole lines, tagged with the VM's name.

use crate::platform::console;
use heapless::Vec;

/// Longest line; a longer one is cut into lines of this length.
const MAX_LINE: usize = 4096;

/// A line that is not ended yet.
#[derive(Default)]
pub struct Console {
    line: Vec<u8, MAX_LINE>,
}

impl Console {
    /// Takes a piece of text from the VM named `name`, and prints the lines that it ends.
    pub fn write(&mut self, name: &str, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' || self.line.push(byte).is_err() {
                self.flush(name);
                if byte != b'\n' {
                    // The line was just emptied, so there is room.
                    let _ = self.line.push(byte);
                }
            }
        }
    }

    /// Prints what is left.
    pub fn finish(&mut self, name: &str) {
        if !self.line.is_empty() {
            self.flush(name);
        }
    }

    fn flush(&mut self, name: &str) {
        console::vm_line(name, &self.line);
        self.line.clear();
    }
}
