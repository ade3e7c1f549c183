//! Calls of a sender that were under way when its directory changed.

use sluice_abi::call::CALLS;
use sluice_memory::SharedWords;

/// A call of a sender that runs the ring code itself. It may go by the directory of before, and write into the memory
/// of a peer that was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(u64);

impl Call {
    /// Returns the call that is under way, by the sender's request block; `None` if all that begin from now on see what
    /// was [published](crate::publish()) before. The sender writes the block: a host waits for a bounded time.
    pub fn under_way<W: SharedWords>(request: &W) -> Option<Self> {
        W::full();
        let count = request.load(CALLS);
        let is_under_way = !count.is_multiple_of(2);
        W::acquire();
        is_under_way.then_some(Self(count))
    }

    /// Returns whether the call has ended.
    pub fn is_over<W: SharedWords>(self, request: &W) -> bool {
        let is_over = request.load(CALLS) != self.0;
        W::acquire();
        is_over
    }
}
