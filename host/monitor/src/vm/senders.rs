//! What a VM's senders learn of it, when, and for whom the VM waits.

use super::mailbox;
use super::network::{ask_senders, senders_to, wait_for};
use super::vm::Vm;
use crate::platform::{cpu, smp};
use sluice_control::Event;

impl Vm {
    /// The VM's device is another one for its senders. After a reset, none of them can use the old one any more on
    /// return (rule G13); anything else is news.
    pub(super) fn device_changed(&mut self, event: Event) {
        let senders = ask_senders(self.id);
        if event == Event::Reset {
            self.revocations += 1;
            wait_for(self.id, senders.into_iter().filter(|&sender| mailbox::reaches(sender, self.id)));
        }
        self.news.add();
    }

    /// Returns whether the VM would interrupt its senders again before a quantum has passed.
    pub(super) fn is_early(&self) -> bool {
        let reaches = |sender| mailbox::reaches(sender, self.id);
        cpu::ticks() < self.news.not_before() && senders_to(self.id).into_iter().any(reaches)
    }

    /// Returns once no sender acts on what its directory said of the VM before (rule G13). Senders that do not reach
    /// the VM read their directories before they do.
    pub(super) fn tell_senders(&mut self) {
        let senders = ask_senders(self.id);
        let reaching: alloc::vec::Vec<_> =
            senders.into_iter().filter(|&sender| mailbox::reaches(sender, self.id)).collect();
        if !reaching.is_empty() {
            wait_for(self.id, reaching.into_iter());
            self.news.interrupted(cpu::ticks());
        }
    }

    /// Calls those of the VM's senders that have not read their directories yet, if that is due.
    pub(super) fn spread_news(&mut self) {
        let now = cpu::ticks();
        if self.news.is_due(now) {
            let senders = senders_to(self.id).into_iter();
            let called = senders.filter(|&sender| mailbox::call(sender, smp::current())).count();
            self.news.told(now, called > 0);
        }
    }
}
