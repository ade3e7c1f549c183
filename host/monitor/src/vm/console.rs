//! One console for each VM: whole lines, tagged with the VM's name, which the VM prints in its own time.
//!
//! A line is printed in pieces. Meanwhile the VM waits, and others of its processor may run. While a line of another VM
//! is printed, this VM goes on, and its lines wait. So a VM's printing takes no time of other VMs, and no more than its
//! share of the console.
//!
//! # Why lines are not cut into shorter ones
//! Programs read the console by lines: a measured row, a piece of a file.

use crate::platform::stream::{Sent, Sink, Stream};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use spin::Mutex;

/// Length in bytes of the longest line; a longer one is cut into lines of this length.
const MAX_LINE: usize = 4096;
/// Bytes that may wait to be printed. The VM waits while there are more.
const ROOM: usize = 8192;
/// Tag of the lines that the monitor prints about the VM.
const MONITOR: &str = "monitor";

/// Whether a VM has to wait for its console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All lines are printed, or wait for their turn.
    Free,
    /// The VM has to wait: a line of its own is being printed, or too many bytes wait.
    Held,
}

/// The console of a VM.
pub struct Console {
    /// Id of the VM, its number as a writer of the stream.
    id: u32,
    /// Name of the VM, the tag of its lines.
    name: String,
    /// The line that the VM has not ended yet.
    open: Vec<u8>,
    /// Lines that wait: for each a byte that is 1 if the line is the monitor's, the text, and a line feed.
    lines: VecDeque<u8>,
    /// The line that is being printed, with its tag.
    line: Vec<u8>,
    /// Number of bytes of that line that were sent.
    sent: usize,
}

impl Console {
    /// Returns the console of VM `id`, which is called `name`.
    pub fn new(id: u32, name: &str) -> Self {
        let (open, line) = (Vec::with_capacity(MAX_LINE), Vec::with_capacity(2 * MAX_LINE));
        let lines = VecDeque::with_capacity(ROOM + 4 * MAX_LINE);
        Self { id, name: name.into(), open, lines, line, sent: 0 }
    }

    /// Takes a piece of text from the VM.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' || self.open.len() == MAX_LINE {
                self.end_line();
            }
            if byte != b'\n' {
                self.open.push(byte);
            }
        }
    }

    /// Ends the line that the VM has not ended, if any.
    pub fn finish(&mut self) {
        if !self.open.is_empty() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        self.lines.push_back(0);
        self.lines.extend(self.open.drain(..));
        self.lines.push_back(b'\n');
    }

    /// Takes a line of the monitor's about this VM.
    pub fn say(&mut self, text: fmt::Arguments) {
        let mut line = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(line, "{text}");
        self.lines.push_back(1);
        self.lines.extend(line.bytes());
    }

    /// Returns whether something is left to be printed.
    pub fn is_pending(&self) -> bool {
        self.sent < self.line.len() || !self.lines.is_empty()
    }

    /// Returns whether no more bytes wait than may.
    pub fn has_room(&self) -> bool {
        self.lines.len() <= ROOM
    }

    /// Prints as much as the stream takes now. The stream is locked for one piece at a time.
    pub fn print<S: Sink>(&mut self, stream: &Mutex<Stream<S>>) -> Progress {
        while self.is_pending() {
            if self.sent == self.line.len() {
                self.take_line();
            }
            let sent = stream.lock().send(self.id, &self.line[self.sent..]);
            match sent {
                Sent::NotItsTurn if self.has_room() => return Progress::Free,
                Sent::NotItsTurn | Sent::Bytes(0) => return Progress::Held,
                Sent::Bytes(more) => self.sent += more,
            }
        }
        Progress::Free
    }

    fn take_line(&mut self) {
        let tag = if self.lines.pop_front() == Some(0) { &self.name } else { MONITOR };
        self.line.clear();
        self.line.extend(["[", tag, "] "].concat().bytes());
        self.sent = 0;
        while let Some(byte) = self.lines.pop_front() {
            self.line.push(byte);
            if byte == b'\n' {
                break;
            }
        }
    }
}

#[cfg(all(test, not(target_os = "none")))]
mod tests;
