//! The launcher's own standard output: whole lines, whatever becomes of whoever reads them.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::stdout;
use sluice_guard::Signals;
use std::io;
use std::time::{Duration, Instant};

/// How long the last line waits for a reader that reads nothing.
const LAST: Duration = Duration::from_secs(1);
/// A pipe that can be written to takes so many bytes at once. See: pipe(7), `PIPE_BUF`.
const PIECE: usize = 4096;

/// Where all lines go. Nobody has to read them; an error that is not the reader's doing is kept, as lines are missing then.
#[derive(Default)]
pub struct Console<'s> {
    /// What ends a wait for the reader.
    signals: Option<&'s Signals>,
    end: Option<Instant>,
    error: Option<Errno>,
    /// The last line went out in part.
    cut: bool,
}

impl<'s> Console<'s> {
    /// A console whose reader is waited for until a signal comes, or until `end`.
    pub fn new(signals: &'s Signals, end: Option<Instant>) -> Self {
        Self { signals: Some(signals), end, ..Self::default() }
    }

    /// Prints a line of the launcher's.
    pub fn say(&mut self, text: &str) {
        self.line("launcher", text.as_bytes());
    }

    /// Prints the last line, for which there is always a moment.
    pub fn last(&mut self, text: &str) {
        (self.signals, self.end) = (None, Some(Instant::now() + LAST));
        self.say(text);
    }

    /// Prints `text` behind `tag`; it is one line, whatever it holds.
    pub fn line(&mut self, tag: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text).replace('\n', " ");
        let start = if self.cut { "\n" } else { "" };
        let bytes = format!("{start}[{tag}] {text}\n").into_bytes();
        let left = self.write(&bytes);
        self.cut = if left == bytes.len() { self.cut } else { left > 0 };
    }

    /// Writes `bytes`; how many are left.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.is_writable() {
            match rustix::io::write(stdout(), &rest[..rest.len().min(PIECE)]) {
                Ok(written) => rest = &rest[written..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => {
                    self.error = self.error.or(Some(error).filter(|error| *error != Errno::PIPE));
                    break;
                }
            }
        }
        rest.len()
    }

    /// Why lines are missing.
    pub fn error(&self) -> Option<io::Error> {
        self.error.map(io::Error::from)
    }

    /// Waits for the reader; whether it reads.
    fn is_writable(&self) -> bool {
        loop {
            let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::from_borrowed_fd(stdout(), PollFlags::OUT)];
            match poll(&mut fds, left.as_ref()) {
                Ok(count) => return count > 0,
                Err(_) if self.signals.is_some_and(|signals| signals.raised().is_some()) => return false,
                Err(_) => {}
            }
        }
    }
}
