//! A way to save processor time when polls bring nothing: poll on, pause the processor, and at last sleep.

use core::fmt;
use core::time::Duration;
use crossbeam_utils::Backoff;
use sluice_memory::PeerSlice;

/// A word of shared memory that changes when a device has used a buffer.
#[derive(Clone, Copy, Debug)]
pub struct WatchWord {
    /// The four bytes of the word, aligned. The device side writes them at any time.
    pub memory: PeerSlice<'static>,
    /// The value of the word, little-endian, before the driver looked for buffers.
    pub seen: u32,
}

/// A machine that can sleep.
pub trait Wait {
    /// Sleeps until somebody wakes this machine, or `at_most` has passed; earlier is allowed. The machine does not
    /// sleep if `word` is no longer as it was seen, as there may be a frame to receive. The device was asked to notify
    /// of the next frame, so a machine with interrupts sleeps until one.
    fn wait(&mut self, word: WatchWord, at_most: Duration);
}

/// The lengths of a [`Poller`]'s sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Longest first sleep. Each further sleep that ends without a frame may be twice as long.
    pub first: Duration,
    /// Longest sleep. A host's switch wakes a machine for a frame; a sender through a window wakes nobody, so its frame
    /// waits at most as long as this.
    pub longest: Duration,
}

impl Default for Idle {
    /// Returns sleeps of 50 microseconds, and later up to one millisecond.
    fn default() -> Self {
        Self { first: Duration::from_micros(50), longest: Duration::from_millis(1) }
    }
}

/// The step after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Poll again.
    Poll,
    /// Sleep at most this long, by [`crate::VirtioNet::sleep`], and poll again.
    Sleep(Duration),
}

/// Decides, by the number of frames that each poll brought, whether a VNF polls on, pauses or sleeps.
///
/// After a poll that brought frames, the next follows at once. After polls that brought none, the processor pauses for
/// longer and longer between two of them (in all some 2,000 PAUSE instructions), and then the machine is told to sleep.
///
/// ```
/// use sluice::{Idle, Next, Poller};
///
/// let mut poller = Poller::new(Idle::default());
/// assert_eq!(poller.polled(32), Next::Poll);
/// while poller.polled(0) == Next::Poll {}
/// assert_eq!(poller.polled(0), Next::Sleep(2 * Idle::default().first));
/// assert_eq!(poller.polled(1), Next::Poll);
/// ```
pub struct Poller {
    idle: Idle,
    backoff: Backoff,
    /// Length of the next sleep.
    sleep: Duration,
}

impl Poller {
    /// Returns a poller that begins with a poll.
    pub fn new(idle: Idle) -> Self {
        Self { idle, backoff: Backoff::new(), sleep: idle.first.min(idle.longest) }
    }

    /// Pauses, if the last poll brought nothing (`frames` is 0), and returns the next step.
    #[inline]
    pub fn polled(&mut self, frames: usize) -> Next {
        if frames > 0 {
            self.backoff.reset();
            self.sleep = self.idle.first.min(self.idle.longest);
            return Next::Poll;
        }
        if !self.backoff.is_completed() {
            self.backoff.snooze();
            return Next::Poll;
        }
        let sleep = self.sleep;
        self.sleep = sleep.saturating_mul(2).min(self.idle.longest);
        Next::Sleep(sleep)
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("idle", &self.idle).field("sleep", &self.sleep).finish()
    }
}
