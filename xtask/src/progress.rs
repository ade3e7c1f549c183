//! One line for everything that takes longer than a moment.

use std::time::Instant;

/// Says on stderr what goes on now, and afterwards how long it took.
pub fn step<T>(what: &str, work: impl FnOnce() -> T) -> T {
    eprintln!("… {what}");
    let start = Instant::now();
    let result = work();
    eprintln!("  {:.1} s", start.elapsed().as_secs_f64());
    result
}
