//! What a host that takes a peer away has to know of a sender: whether a call that began before is still under way.

use sluice_abi::call::CALLS;
use sluice_memory::SharedWords;

/// The calls of one sender, which runs the ring code itself, in its request block.
pub(crate) struct Calls<W> {
    words: W,
    /// Beginnings and ends so far.
    count: u64,
}

impl<W: SharedWords> Calls<W> {
    /// Returns the calls in a request block, none of which is under way.
    pub fn new(words: W) -> Self {
        let count = words.load(CALLS) & !1;
        Self { words, count }
    }

    /// Begins a call. The directory is read after that: who does not see the host's change of it is seen by the host.
    #[inline(always)]
    pub fn begin(&mut self) {
        self.count |= 1;
        self.words.store(CALLS, self.count);
        W::full();
    }

    /// Ends the call, after all that it wrote.
    #[inline(always)]
    pub fn end(&mut self) {
        W::release();
        self.count = self.count.wrapping_add(1);
        self.words.store(CALLS, self.count);
    }
}

#[cfg(test)]
mod tests;
