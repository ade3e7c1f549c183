//! The launcher's standard output: whole lines, whatever its reader does.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::stdout;
use sluice_guard::Signals;
use std::io;
use std::time::{Duration, Instant};

/// Time that the last line waits for a reader that does not read.
const LAST: Duration = Duration::from_secs(1);
/// Number of bytes that a writable pipe takes at once. See: pipe(7), `PIPE_BUF`.
const PIECE: usize = 4096;

/// Standard output, to which all lines go. A reader that closes its end is no error; any other error is kept, since
/// lines are missing then.
#[derive(Default)]
pub struct Console<'s> {
    /// Signals that end a wait for the reader.
    signals: Option<&'s Signals>,
    /// Time at which a wait for the reader ends.
    end: Option<Instant>,
    /// The first error of a write.
    error: Option<Errno>,
    /// Whether the last line was written in part.
    cut: bool,
}

impl<'s> Console<'s> {
    /// Returns a console that waits for its reader until a signal comes, or until `end`.
    pub fn new(signals: &'s Signals, end: Option<Instant>) -> Self {
        Self { signals: Some(signals), end, ..Self::default() }
    }

    /// Prints a line of the launcher.
    pub fn say(&mut self, text: &str) {
        self.line("launcher", text.as_bytes());
    }

    /// Prints the last line, and waits for the reader at most [`LAST`].
    pub fn last(&mut self, text: &str) {
        (self.signals, self.end) = (None, Some(Instant::now() + LAST));
        self.say(text);
    }

    /// Prints `text` behind `tag` as one line, whatever bytes it has.
    pub fn line(&mut self, tag: &str, text: &[u8]) {
        let text = String::from_utf8_lossy(text).replace('\n', " ");
        let start = if self.cut { "\n" } else { "" };
        let bytes = format!("{start}[{tag}] {text}\n").into_bytes();
        let left = self.write(&bytes);
        self.cut = if left == bytes.len() { self.cut } else { left > 0 };
    }

    /// Writes `bytes`. Returns how many were not written.
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

    /// Returns the error for which lines are missing, if any.
    pub fn error(&self) -> Option<io::Error> {
        self.error.map(io::Error::from)
    }

    /// Waits for the reader. Returns whether standard output can be written.
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
