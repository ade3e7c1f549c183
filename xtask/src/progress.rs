//! Lines on standard error about work that takes longer than a moment.

use std::time::{Duration, Instant};

/// Prints what begins now, and afterwards the time that it took. Other work may begin and end in between.
pub fn step<T>(what: &str, work: impl FnOnce() -> T) -> T {
    eprintln!("… {what}");
    let start = Instant::now();
    let result = work();
    eprintln!("  {:.1} s: {what}", start.elapsed().as_secs_f64());
    result
}

/// Prints a line now and then about work that takes longer than 2 s.
pub struct Slow {
    start: Instant,
    next: Duration,
}

impl Slow {
    /// Starts now.
    #[expect(clippy::new_without_default, reason = "it starts a clock")]
    pub fn new() -> Self {
        Self { start: Instant::now(), next: Duration::from_secs(2) }
    }

    /// Says `what` on stderr if it is time.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let passed = self.start.elapsed();
        if passed >= self.next {
            eprintln!("… {:.0} s: {}", passed.as_secs_f64(), what());
            self.next = passed + Duration::from_secs(10);
        }
    }
}
