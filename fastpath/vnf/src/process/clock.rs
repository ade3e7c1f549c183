//! The rate of the processor's tick counter, measured.

use crate::clock::{Counter, now};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time for which the counter is compared with the system's clock.
const COMPARED: Duration = Duration::from_millis(50);

/// Returns what [`now`] counts.
pub fn counter() -> Counter {
    Counter::Cycles(Some(per_second()))
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
