//! The log: a standard error that nobody reads does not stop the server, and no VM fills it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait for standard error. More are lost, and counted.
const WAITING: usize = 4096;
/// Lines of a VM within [`SPAN`]. More are left out, and counted.
const LINES: u64 = 8;
const SPAN: Duration = Duration::from_secs(1);
/// Time that lines which still wait have at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns a writer to standard error for which nobody waits, and what ends it.
pub fn begin() -> io::Result<(NonBlocking, WorkerGuard)> {
    // Of its own, not std's: whoever writes to that one waits for its lock.
    Ok(lossy(File::from(io::stderr().as_fd().try_clone_to_owned()?), WAITING))
}

/// Returns a writer to `file` which has `waiting` lines wait at most.
fn lossy(file: File, waiting: usize) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(waiting).finish(file)
}

/// Writes the lines that wait, if they are taken within [`PATIENCE`].
pub fn end(guard: WorkerGuard) {
    let (done, is_done) = mpsc::channel();
    // The guard prints to standard output if lines wait, and that one may have no reader either.
    thread::spawn(move || {
        drop(guard);
        // Nobody waits any more after the time.
        let _ = done.send(());
    });
    // The lines that are left are lost.
    let _ = is_done.recv_timeout(PATIENCE);
}

/// How many lines a VM has had in the log lately.
#[derive(Default)]
pub struct Quota {
    /// When the first was logged.
    begin: Option<Instant>,
    lines: u64,
}

impl Quota {
    /// Counts a line of this level, unless nobody wants the level. Returns whether it is to be logged.
    pub fn wants(&mut self, level: Level) -> bool {
        level <= LevelFilter::current() && self.takes(Instant::now())
    }

    /// Counts a line, and returns whether it is to be logged.
    pub fn takes(&mut self, now: Instant) -> bool {
        self.begin.get_or_insert(now);
        self.lines += 1;
        self.lines <= LINES
    }

    /// Begins anew if the time is over at `now`. Returns how many lines were left out then, unless none was.
    pub fn renew(&mut self, now: Instant) -> Option<u64> {
        self.begin.filter(|&begin| now.duration_since(begin) >= SPAN)?;
        self.take()
    }

    /// Begins anew. Returns how many lines were left out, unless none was.
    pub fn take(&mut self) -> Option<u64> {
        std::mem::take(self).lines.checked_sub(LINES).filter(|&left_out| left_out > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_that_nobody_reads_are_lost_and_counted_and_hold_nobody() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let (mut log, guard) = lossy(File::from(std::os::fd::OwnedFd::from(writer)), 4);
        let (lost, start) = (log.error_counter(), Instant::now());
        for _ in 0..100 {
            log.write_all(&[b'x'; 1 << 16]).expect("never an error");
        }
        // One fills the pipe, the next is held, and four wait.
        assert!((94..100).contains(&lost.dropped_lines()), "{} are lost", lost.dropped_lines());
        end(guard);
        assert!(start.elapsed() < 2 * PATIENCE, "{:?}", start.elapsed());
        drop(reader);
    }

    #[test]
    fn lines_beyond_the_quota_are_counted_until_its_time_is_over() {
        let (mut quota, now) = (Quota::default(), Instant::now());
        assert_eq!((0..LINES + 5).filter(|_| quota.takes(now)).count() as u64, LINES);
        assert_eq!(quota.renew(now + SPAN / 2), None);
        assert!(!quota.takes(now + SPAN / 2));
        assert_eq!(quota.renew(now + SPAN), Some(6));
        assert_eq!(quota.renew(now + 2 * SPAN), None, "they were told");
        assert!(quota.takes(now + SPAN));
        assert_eq!(quota.renew(now + 2 * SPAN), None, "none was left out");
    }
}
