//! The processor's tick counter as a clock.
#![allow(unsafe_code, reason = "RDTSC")]

use crate::clock::Counter;
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the counter is compared with the system's clock.
const COMPARED: Duration = Duration::from_millis(50);

/// Returns the ticks since the machine started.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: reads a counter. LFENCE lets everything before it end first, as the counter is read out of order otherwise.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

/// Returns what [`now`] counts.
pub fn counter() -> Counter {
    Counter::Cycles(Some(per_second()))
}

/// Ticks in a second, measured once.
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
