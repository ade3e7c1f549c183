//! Signals: which have come, and a descriptor that is readable then.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::{flag, low_level};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The caught signals.
pub struct Signals {
    wake: UnixStream,
    end: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// Catches the signals from now on.
    pub fn catch() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let (end, reload) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        for (signal, flag) in [(SIGINT, &end), (SIGTERM, &end), (SIGQUIT, &end), (SIGHUP, &reload)] {
            flag::register(signal, flag.clone())?;
            low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { wake, end, reload })
    }

    /// Returns whether the server is asked to end: SIGINT, SIGTERM, SIGQUIT.
    pub fn ends(&self) -> bool {
        self.end.load(Relaxed)
    }

    /// Returns whether the server is asked for the first time since the last call to read its policy again: SIGHUP.
    pub fn reloads(&self) -> bool {
        self.reload.swap(false, Relaxed)
    }

    /// Takes what made the descriptor readable.
    pub fn drain(&self) {
        // The bytes only say that there was a signal.
        let _ = (&self.wake).read(&mut [0; 64]);
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
