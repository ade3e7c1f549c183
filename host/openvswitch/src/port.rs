//! A port of Open vSwitch of type `dummy` with `options:pstream=punix:PATH`: Open vSwitch listens at PATH, and all
//! who connect send frames into the port and get those that leave by it.
//!
//! ```text
//! frame   length in bytes (15:0), big-endian, then the bytes of the frame
//! ```
//!
//! Open vSwitch hangs up on who sends a frame of less than 14 bytes. It drops what leaves by the port and is longer
//! than the port's MTU, 1500 unless `mtu_request` says another one, and an Ethernet header; and what comes while 100
//! frames wait for their reader.

use crate::error::{Error, Result};
use crate::socket;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Lengths of a frame, in bytes.
const SHORTEST: usize = 14;
const LONGEST: usize = u16::MAX as usize;
/// Bytes that wait to be written, at most.
const MOST: usize = 1 << 20;
/// Time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of a frame that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Open vSwitch gets it, unless it ends before.
    Queued,
    /// Too much waits to be written: it was not taken.
    Full,
    /// Open vSwitch is not there: it was not taken.
    Down,
}

/// One end of a port's stream. It connects when it is used, and again when Open vSwitch is back.
#[derive(Debug)]
pub struct Port {
    path: PathBuf,
    stream: Option<UnixStream>,
    /// Whole frames, but for the first one, whose start may be written already.
    output: Vec<u8>,
    /// Whole frames, but for the last one.
    input: Vec<u8>,
    /// When the last attempt to connect was.
    tried: Option<Instant>,
    /// Number of connections so far.
    connections: u64,
}

impl Port {
    /// Returns the end of the port that listens at `path`. Nothing is opened yet.
    pub fn new(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path, stream: None, output: Vec::new(), input: Vec::new(), tried: None, connections: 0 }
    }

    /// Sends a frame, without waiting: what the socket does not take now is written by a later call.
    ///
    /// # Errors
    /// [`Error::Frame`]: a port does not take frames of this length.
    pub fn send(&mut self, frame: &[u8]) -> Result<Sent> {
        let len = u16::try_from(frame.len()).ok().filter(|_| (SHORTEST..=LONGEST).contains(&frame.len()));
        let len = len.ok_or(Error::Frame(frame.len()))?;
        if !self.connect() {
            return Ok(Sent::Down);
        }
        if self.output.len() + 2 + frame.len() > MOST {
            self.flush();
        }
        if self.output.len() + 2 + frame.len() > MOST {
            return Ok(Sent::Full);
        }
        self.output.extend(len.to_be_bytes());
        self.output.extend(frame);
        self.flush();
        Ok(if self.stream.is_some() { Sent::Queued } else { Sent::Down })
    }

    /// Writes what waits, and calls `take` with each frame that came, `most` at most. Returns their number.
    pub fn receive(&mut self, most: usize, mut take: impl FnMut(&[u8])) -> usize {
        self.connect();
        self.flush();
        let (mut taken, mut at) = (0, 0);
        while taken < most {
            match whole(&self.input[at..]) {
                // Open vSwitch sends none of them.
                Some(len) if len < 2 + SHORTEST => {
                    at = 0;
                    self.hang_up();
                    break;
                }
                Some(len) => {
                    take(&self.input[at + 2..at + len]);
                    (taken, at) = (taken + 1, at + len);
                    continue;
                }
                None => {}
            }
            self.input.drain(..at);
            at = 0;
            let Some(stream) = &self.stream else { break };
            match socket::read(stream, &mut self.input) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => self.hang_up(),
            }
        }
        self.input.drain(..at);
        taken
    }

    /// Returns the socket, if it is open, and whether something waits to be written.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.stream.as_ref().map(|stream| (stream.as_fd(), !self.output.is_empty()))
    }

    /// Returns whether Open vSwitch is there, as far as is known.
    pub fn is_up(&self) -> bool {
        self.stream.is_some()
    }

    /// Returns the number of connections so far: frames of two connections are not in order.
    pub const fn connections(&self) -> u64 {
        self.connections
    }

    /// Connects if need be, and if the last attempt is a while ago. Returns whether there is a connection.
    pub fn connect(&mut self) -> bool {
        if self.stream.is_none() && self.tried.is_none_or(|tried| tried.elapsed() >= PAUSE) {
            self.tried = Some(Instant::now());
            self.stream = socket::open(&self.path).ok();
            self.connections += u64::from(self.stream.is_some());
        }
        self.stream.is_some()
    }

    fn flush(&mut self) {
        while let Some(stream) = self.stream.as_ref().filter(|_| !self.output.is_empty()) {
            match socket::write(stream, &self.output) {
                Ok(0) => break,
                Ok(count) => _ = self.output.drain(..count),
                Err(_) => self.hang_up(),
            }
        }
    }

    /// Closes the connection. What was cut off is of no use to the next one, and what waited may be old by then.
    fn hang_up(&mut self) {
        self.stream = None;
        self.output.clear();
        self.input.clear();
    }
}

/// Returns the length of the first frame with its length's two bytes, if all of it is there.
fn whole(input: &[u8]) -> Option<usize> {
    let len = 2 + usize::from(u16::from_be_bytes(*input.first_chunk()?));
    (input.len() >= len).then_some(len)
}

#[cfg(test)]
mod tests;
