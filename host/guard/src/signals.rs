//! Signals that ask a run to end, and how to wait for them.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level};
use std::fs;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

const ENDING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// The caught signals: SIGINT, SIGTERM, SIGHUP and SIGQUIT, which no longer end this process, and SIGCHLD, which ends a
/// wait.
pub struct Signals {
    wake: UnixStream,
    raised: Arc<AtomicUsize>,
}

impl Signals {
    /// Catches the signals from now on. A SIGHUP that is ignored, as under nohup, stays ignored.
    pub fn catch() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let raised = Arc::new(AtomicUsize::new(0));
        for signal in ENDING.into_iter().filter(|&signal| signal != SIGHUP || !is_ignored(SIGHUP)) {
            flag::register_usize(signal, Arc::clone(&raised), signal as usize)?;
            low_level::pipe::register(signal, write.try_clone()?)?;
        }
        low_level::pipe::register(SIGCHLD, write)?;
        // If a file exceeds its limit, the write fails, and this process goes on.
        flag::register(libc::SIGXFSZ, Arc::default())?;
        Ok(Self { wake, raised })
    }

    /// Returns the last signal that asked for an end, if any.
    pub fn raised(&self) -> Option<i32> {
        Some(self.raised.load(Relaxed) as i32).filter(|&signal| signal != 0)
    }

    /// Waits for a signal, for one of `others`, or for `until`, whichever comes first. It may also return early.
    pub fn wait(&self, others: &[(BorrowedFd<'_>, PollFlags)], until: Option<Instant>) {
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        fds.extend(others.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)));
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        // If poll is interrupted or short of memory, this function returns early, and the caller looks again.
        let _ = poll(&mut fds, left.as_ref());
        // The bytes only say that there was a signal.
        let _ = (&self.wake).read(&mut [0; 64]);
    }
}

/// Returns the exit code of a run that `signal` ended, as in shells.
pub fn code(signal: i32) -> u8 {
    128u8.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX))
}

/// Returns the name of `signal`.
pub fn name(signal: i32) -> String {
    low_level::signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

/// Returns whether this process ignores `signal`. See: proc_pid_status(5), `SigIgn`.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
