//! What the senders to a VM have not heard of yet, and when they are called for it.
//!
//! A call by NMI is an exit of the sender's, so a receiver could take its time by starting its device without end. A sender that exits anyway
//! looks by itself. One that does not is called once for all that there is, and not again before a quantum of the receiver's time has passed.

/// News of one VM's device.
pub struct News {
    /// Ticks between two calls.
    quantum: u64,
    pending: bool,
    /// The counter's value before which nobody is called.
    not_before: u64,
}

impl News {
    /// None. Senders are called every `quantum` ticks at most.
    pub const fn new(quantum: u64) -> Self {
        Self { quantum, pending: false, not_before: 0 }
    }

    /// There is something new.
    pub const fn add(&mut self) {
        self.pending = true;
    }

    /// Senders were called at tick `now`; whether they have to be again, if a call was lost, or finds one in the window.
    pub const fn told(&mut self, now: u64, again: bool) {
        (self.pending, self.not_before) = (again, now.saturating_add(self.quantum));
    }

    /// Senders were interrupted at tick `now`, for something else.
    pub const fn interrupted(&mut self, now: u64) {
        self.not_before = now.saturating_add(self.quantum);
    }

    /// Whether senders are to be called at tick `now`.
    pub const fn is_due(&self, now: u64) -> bool {
        self.pending && now >= self.not_before
    }

    /// The counter's value at which they are; the largest if there is nothing new.
    pub const fn deadline(&self) -> u64 {
        if self.pending { self.not_before } else { u64::MAX }
    }

    /// The counter's value before which the VM may not make news again.
    pub const fn not_before(&self) -> u64 {
        self.not_before
    }
}

#[cfg(all(test, not(target_os = "none")))]
mod tests {
    use super::*;

    const QUANTUM: u64 = 1000;

    /// What is told first is told at once. However often a device starts from then on, its senders are called once in a quantum.
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

    /// What else interrupts them counts, and takes no news away.
    #[test]
    fn who_interrupts_its_senders_waits_for_the_next_time() {
        let mut news = News::new(QUANTUM);
        news.add();
        news.interrupted(5);
        assert_eq!((news.not_before(), news.is_due(QUANTUM + 4), news.is_due(QUANTUM + 5)), (QUANTUM + 5, false, true));
    }

    /// A call that did not get through is repeated, a quantum later.
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
