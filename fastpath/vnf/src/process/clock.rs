//! The rate of the processor's tick counter, measured.

use crate::clock::{Counter, now};
use rustix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time for which the counter is compared with the system's clock.
const COMPARED: Duration = Duration::from_millis(50);

/// Returns what [`now`] counts.
pub fn counter() -> Counter {
    Counter::Cycles(Some(per_second()))
}

/// Returns the time by the host's clock, in nanoseconds.
pub fn host_time() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Returns the ticks in a second, which are measured once.
fn per_second() -> u64 {
    static RATE: OnceLock<u64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (start, before) = (Instant::now(), now());
        while start.elapsed() < COMPARED {
            std::hint::spin_loop();
        }
        let (ticks, elapsed) = (now() - before, start.elapsed());
        (u128::from(ticks) * 1_000_000_000 / elapsed.as_nanos()) as u64
    })
}
