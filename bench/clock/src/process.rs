//! The clock of a process: it has no exits, and its timer is a thread that sleeps until each expiry, by the system's
//! monotonic clock.

use crate::{Expiries, Ticker};
use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{Timespec, clock_gettime};
use sluice_vnf::{Gate, TxError};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Time that an idle process sleeps at once.
const A_WHILE: Duration = Duration::from_millis(1);

static EXPIRIES: Expiries = Expiries::new();

/// Times windows, which no process has.
pub enum WindowTimer {}

impl WindowTimer {
    /// Returns the timer: there is none.
    pub fn of(_: &Gate) -> Option<Self> {
        None
    }

    /// Would send the first `count` packets of the request block once more.
    pub fn open(&self, _count: u16) -> Result<u64, TxError> {
        match *self {}
    }
}

/// Returns the exits: a process has none.
pub fn exits() -> u64 {
    0
}

/// Returns for how many nanoseconds this process has had a processor.
pub fn busy() -> Option<u64> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Does `work`. (In a VM the timer would rest.)
pub fn untimed(work: impl FnOnce()) {
    work();
}

/// Returns whether the timer can be told when to expire: that of a process can't.
pub fn expire_in(_: u64) -> bool {
    false
}

/// Has nothing to do for a while.
pub fn sleep() {
    thread::sleep(A_WHILE);
}

/// Returns what [`tick`] measures in.
pub fn tick_unit() -> &'static str {
    "nanoseconds"
}

/// Calls `meanwhile` again and again until the timer has expired as often as `ticker` says, and returns how long each
/// expiry took to reach its handler, which is a thread on the same processor. Once per vnf.
pub fn tick<E>(ticker: Ticker, mut meanwhile: impl FnMut() -> Result<(), E>) -> Result<Option<&'static Expiries>, E> {
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| expire(ticker, &failed));
        while EXPIRIES.count() < ticker.count {
            meanwhile().inspect_err(|_| failed.store(true, Relaxed))?;
        }
        Ok(Some(&EXPIRIES))
    })
}

/// Sleeps and notes, until there are enough or nobody wants them any more.
fn expire(ticker: Ticker, failed: &AtomicBool) {
    let mut due = now() + ticker.period;
    while EXPIRIES.count() < ticker.count && !failed.load(Relaxed) {
        // Interrupted by a signal, it is early: it sleeps again.
        while now() < due {
            let _ = clock_nanosleep_absolute(ClockId::Monotonic, &timespec(due));
        }
        let reached = now();
        EXPIRIES.note(reached - due);
        due = EXPIRIES.next(due, reached, ticker.period);
    }
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}
