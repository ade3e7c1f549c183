//! What to do when a poll brings nothing: poll on, pause the processor, and at last sleep.

use core::fmt;
use core::time::Duration;
use crossbeam_utils::Backoff;
use sluice_memory::PeerSlice;

/// A word of shared memory that changes when a device has used a buffer.
#[derive(Clone, Copy, Debug)]
pub struct WatchWord {
    /// Its four bytes, aligned. The device side writes them at any time.
    pub memory: PeerSlice<'static>,
    /// What they were, little-endian, before the driver looked for buffers.
    pub seen: u32,
}

/// A machine that can sleep.
pub trait Wait {
    /// Sleeps until somebody wakes this machine, or `at_most` has passed; earlier is allowed. Does not sleep if `word` is no longer as it was
    /// seen: there may be something to receive. The device was asked to tell of the next frame, so a machine with interrupts sleeps until one.
    fn wait(&mut self, word: WatchWord, at_most: Duration);
}

/// How long a [`Poller`] sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// At most so long the first time. Each further sleep that ends without a frame doubles it.
    pub first: Duration,
    /// Never longer than this. A host's switch wakes a machine for a frame; who sends by a window wakes nobody, so such a frame waits for so long
    /// at most.
    pub longest: Duration,
}

impl Default for Idle {
    /// 50 microseconds, then up to one millisecond.
    fn default() -> Self {
        Self { first: Duration::from_micros(50), longest: Duration::from_millis(1) }
    }
}

/// What to do after a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Poll again.
    Poll,
    /// Sleep at most so long, by [`crate::VirtioNet::sleep`], and poll again.
    Sleep(Duration),
}

/// Decides, from how many frames each poll brought, whether a VNF polls on, pauses or sleeps.
///
/// After a poll that brought frames, the next follows at once. After polls that brought none, the processor pauses for longer and longer
/// between two of them (in all some 2,000 PAUSE instructions), and then the machine is told to sleep.
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
    /// The next sleep.
    sleep: Duration,
}

impl Poller {
    /// A poller that begins with a poll.
    pub fn new(idle: Idle) -> Self {
        Self { idle, backoff: Backoff::new(), sleep: idle.first.min(idle.longest) }
    }

    /// Pauses, if the last poll brought nothing (`frames` is 0), and says what to do next.
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
