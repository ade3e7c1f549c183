//! One console per VM: whole lines, tagged with the VM's name, which the VM prints in its own time.
//!
//! A line leaves in pieces. While one of the VM's own is in hand, the VM waits and others of its processor may run; while another VM's is, this VM goes
//! on, and its lines wait. So what one VM prints takes no other's time, and of the console no more than its share.
//!
//! # Why no line is cut into shorter ones
//! Whoever reads the console takes lines for what they are: a measured row, a piece of a file.

use crate::platform::stream::{Sent, Sink, Stream};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use spin::Mutex;

/// Longest line; a longer one is cut into lines of this length.
const MAX_LINE: usize = 4096;
/// Bytes that may wait. The VM waits while there are more.
const ROOM: usize = 8192;
/// Tag of what the monitor says about the VM.
const MONITOR: &str = "monitor";

/// How far the lines of a VM are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All are printed, or wait for their turn.
    Free,
    /// The VM has to wait: a line of its own is in hand, or too many wait.
    Held,
}

/// What a VM prints.
pub struct Console {
    id: u32,
    name: String,
    /// A line that is not ended yet.
    open: Vec<u8>,
    /// Lines that wait, each with whether it is the monitor's, and a line feed.
    lines: VecDeque<u8>,
    /// The line in hand, tagged, and how much of it was sent.
    line: Vec<u8>,
    sent: usize,
}

impl Console {
    /// That of VM `id`, which is called `name`.
    pub fn new(id: u32, name: &str) -> Self {
        let (open, line) = (Vec::with_capacity(MAX_LINE), Vec::with_capacity(2 * MAX_LINE));
        let lines = VecDeque::with_capacity(ROOM + 4 * MAX_LINE);
        Self { id, name: name.into(), open, lines, line, sent: 0 }
    }

    /// Takes a piece of text.
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

    /// Ends the line that is open, if any.
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

    /// Takes a line of the monitor's, about this VM.
    pub fn say(&mut self, text: fmt::Arguments) {
        let mut line = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(line, "{text}");
        self.lines.push_back(1);
        self.lines.extend(line.bytes());
    }

    /// Whether something is left to be printed.
    pub fn is_pending(&self) -> bool {
        self.sent < self.line.len() || !self.lines.is_empty()
    }

    /// Whether no more waits than may.
    pub fn has_room(&self) -> bool {
        self.lines.len() <= ROOM
    }

    /// Prints what the stream takes now. The stream is locked for no longer than one piece takes.
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
