//! When the senders to a VM are called because its device changed.
//!
//! A call by NMI is an exit of the sender, so a receiver could take its senders' time by starting its device without
//! end. A sender that exits anyway reads its directory by itself. Another is called once for all changes so far, and
//! not again before a quantum has passed.

/// The changes of one VM's device that its senders do not know yet.
pub struct News {
    /// Ticks between two calls of the senders.
    quantum: u64,
    /// Whether there is a change that senders do not know.
    pending: bool,
    /// Value of the time-stamp counter before which no sender is called.
    not_before: u64,
}

impl News {
    /// Returns no news. Senders are called every `quantum` ticks at most.
    pub const fn new(quantum: u64) -> Self {
        Self { quantum, pending: false, not_before: 0 }
    }

    /// Notes a change.
    pub const fn add(&mut self) {
        self.pending = true;
    }

    /// Notes that senders were called at tick `now`. With `again` they are called once more later: a call may be lost,
    /// or find a sender in the window.
    pub const fn told(&mut self, now: u64, again: bool) {
        (self.pending, self.not_before) = (again, now.saturating_add(self.quantum));
    }

    /// Notes that senders were interrupted at tick `now` for something else.
    pub const fn interrupted(&mut self, now: u64) {
        self.not_before = now.saturating_add(self.quantum);
    }

    /// Returns whether senders are to be called at tick `now`.
    pub const fn is_due(&self, now: u64) -> bool {
        self.pending && now >= self.not_before
    }

    /// Returns the value of the time-stamp counter at which senders are to be called; the largest if there is no news.
    pub const fn deadline(&self) -> u64 {
        if self.pending { self.not_before } else { u64::MAX }
    }

    /// Returns the value of the time-stamp counter before which the VM may not change its device again.
    pub const fn not_before(&self) -> u64 {
        self.not_before
    }
}

#[cfg(all(test, not(target_os = "none")))]
mod tests {
    use super::*;

    const QUANTUM: u64 = 1000;

    /// Senders are called at once for the first change. However often the device starts from then on, they are called
    /// once in a quantum.
    #[test]
    fn senders_are_called_once_in_a_quantum() {
        let mut news = News::new(QUANTUM);
        assert!(!news.is_due(0) && news.deadline() == u64::MAX);
        let mut calls = Vec::new();
        for now in 5_000..10_000 {
            news.add();
            if news.is_due(now) {
                calls.push(now);
                news.told(now, false);
            }
        }
        assert_eq!(calls, [5_000, 6_000, 7_000, 8_000, 9_000]);
        news.add();
        assert_eq!(news.deadline(), 10_000);
    }

    /// Other interruptions of the senders count, and the news stays.
    #[test]
    fn who_interrupts_its_senders_waits_for_the_next_time() {
        let mut news = News::new(QUANTUM);
        news.add();
        news.interrupted(5);
        assert_eq!((news.not_before(), news.is_due(QUANTUM + 4), news.is_due(QUANTUM + 5)), (QUANTUM + 5, false, true));
    }

    /// A call that was lost is repeated a quantum later.
    #[test]
    fn a_call_that_was_lost_is_repeated() {
        let mut news = News::new(QUANTUM);
        news.add();
        news.told(1, true);
        assert!(!news.is_due(QUANTUM) && news.is_due(QUANTUM + 1));
        news.told(QUANTUM + 1, false);
        assert!(!news.is_due(u64::MAX) && news.not_before() == 2 * QUANTUM + 1);
    }
}
