//! A client of the control socket of ovs-vswitchd, as ovs-appctl is one. See: ovs-appctl(8); JSON-RPC 1.0.
//!
//! A request is an object of `id`, `method` and `params`; the answer has the same `id`, and a string in `result` or in
//! `error`. Objects follow each other without anything between them, so an answer ends with its last brace.

use crate::error::{Error, Result, excerpt};
use crate::socket;
use serde_json::{Value, json};
use std::io;
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Reads of one poll, at most, so that a long answer does not keep the caller from its other work.
const READS: usize = 2;

/// What a client allows the daemon.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time up to the end of an answer.
    pub patience: Duration,
    /// Length of an answer, in bytes.
    pub answer: usize,
}

impl Default for Limits {
    /// Two seconds, and 64 MiB: about 100,000 flows.
    fn default() -> Self {
        Self { patience: Duration::from_secs(2), answer: 64 << 20 }
    }
}

/// A client that has at most one request on its way. It connects when there is something to ask, and after an error
/// connects anew.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    limits: Limits,
    stream: Option<UnixStream>,
    request: Option<Request>,
    next: u64,
}

/// A request on its way.
#[derive(Debug)]
struct Request {
    id: u64,
    what: String,
    asked: Instant,
    /// What is not written yet.
    output: Vec<u8>,
    /// What came of the answer.
    input: Vec<u8>,
    scan: Scan,
}

impl Client {
    /// Returns a client of the daemon whose control socket is at `path`. Nothing is opened yet.
    pub fn new(path: &Path, limits: Limits) -> Self {
        Self { path: path.to_owned(), limits, stream: None, request: None, next: 0 }
    }

    /// Sends a command, whose answer [`Client::poll`] gets.
    ///
    /// # Errors
    /// [`Error::Gone`]; [`Error::Busy`] if the answer to an earlier one is still awaited.
    pub fn ask(&mut self, now: Instant, method: &str, params: &[&str]) -> Result<()> {
        if let Some(request) = &self.request {
            return Err(Error::Busy(request.what.clone()));
        }
        if self.stream.is_none() {
            self.stream = Some(socket::open(&self.path).map_err(|why| self.gone(why))?);
        }
        self.next += 1;
        let output = json!({"id": self.next, "method": method, "params": params}).to_string().into_bytes();
        let (what, input) = (excerpt(method), Vec::new());
        self.request = Some(Request { id: self.next, what, asked: now, output, input, scan: Scan::default() });
        Ok(())
    }

    /// Writes and reads what there is to write and read. Returns the answer once all of it is there.
    ///
    /// # Errors
    /// [`Error`], all but [`Error::Refused`] with the end of the connection; the request is given up.
    pub fn poll(&mut self, now: Instant) -> Result<Option<String>> {
        let Some((stream, request)) = self.stream.as_ref().zip(self.request.as_mut()) else { return Ok(None) };
        match request.go_on(stream, now, &self.limits) {
            Ok(false) => Ok(None),
            Ok(true) => self.end(),
            Err(Fault::Io(why)) => {
                self.hang_up();
                Err(self.gone(why))
            }
            Err(Fault::Other(error)) => {
                self.hang_up();
                Err(error)
            }
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Error`].
    pub fn call(&mut self, method: &str, params: &[&str]) -> Result<String> {
        self.ask(Instant::now(), method, params)?;
        loop {
            if let Some(answer) = self.poll(Instant::now())? {
                return Ok(answer);
            }
            self.wait();
        }
    }

    /// Returns the socket, if it is open, and whether something is to be written.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, bool)> {
        let writes = self.request.as_ref().is_some_and(|request| !request.output.is_empty());
        self.stream.as_ref().map(|stream| (stream.as_fd(), writes))
    }

    /// Closes the connection, and gives up what was asked.
    pub fn hang_up(&mut self) {
        (self.stream, self.request) = (None, None);
    }

    /// Waits a moment for the other end.
    fn wait(&self) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let Some((fd, writes)) = self.interest() else { return };
        let flags = if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        // An error of poll is one of the next read, too.
        let _ = poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
    }

    fn gone(&self, why: io::Error) -> Error {
        Error::Gone { path: self.path.clone(), why }
    }

    /// Takes the answer out of a request that has all of it.
    fn end(&mut self) -> Result<Option<String>> {
        let Some(request) = self.request.take() else { return Ok(None) };
        match request.answer() {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => {
                if !matches!(error, Error::Refused { .. }) {
                    self.hang_up();
                }
                Err(error)
            }
        }
    }
}

/// Why a request does not go on.
enum Fault {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Request {
    /// Writes and reads. Returns whether all of the answer is there.
    fn go_on(&mut self, stream: &UnixStream, now: Instant, limits: &Limits) -> std::result::Result<bool, Fault> {
        let written = socket::write(stream, &self.output)?;
        self.output.drain(..written);
        for _ in 0..READS {
            let at = self.input.len();
            if socket::read(stream, &mut self.input)? == 0 {
                break;
            }
            if let Some(end) = self.scan.end_of(&self.input[at..]) {
                return if at + end == self.input.len() { Ok(true) } else { Err(self.malformed("bytes behind it")) };
            }
            if self.input.len() > limits.answer {
                return Err(Fault::Other(Error::TooLong { what: self.what.clone(), bound: limits.answer }));
            }
        }
        if now.saturating_duration_since(self.asked) > limits.patience {
            return Err(Fault::Other(Error::TimedOut { what: self.what.clone(), patience: limits.patience }));
        }
        Ok(false)
    }

    fn malformed(&self, why: impl ToString) -> Fault {
        Fault::Other(self.wrong(why))
    }

    fn wrong(&self, why: impl ToString) -> Error {
        Error::Malformed { what: self.what.clone(), why: excerpt(&why.to_string()) }
    }

    /// Returns what the daemon says.
    fn answer(mut self) -> Result<String> {
        let input = take(&mut self.input);
        let mut answer: Value = serde_json::from_slice(&input).map_err(|why| self.wrong(why))?;
        if answer["id"] != self.id {
            return Err(self.wrong("it has another id"));
        }
        match (answer["result"].take(), answer["error"].take()) {
            (Value::String(result), Value::Null) => Ok(result),
            (Value::Null, Value::String(why)) => Err(Error::Refused { what: self.what, why: excerpt(&why) }),
            _ => Err(self.wrong("it has neither a result nor an error")),
        }
    }
}

/// How deep in an object of JSON the bytes are that came so far.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Returns the offset behind the end of the object, if it is in `bytes`, which follow those of the last call.
    fn end_of(&mut self, bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|byte| self.ends_with(*byte)).map(|at| at + 1)
    }

    fn ends_with(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests;
