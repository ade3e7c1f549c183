//! Waiting, but not for ever.

use crate::clock::{self, Counter};
use crate::machine::yield_now;
use crate::{Error, Vnf};

/// Number of ticks without progress after which a VNF gives up: a few seconds, of a clock or of an emulator.
const CYCLES: u64 = 1 << 35;
const INSTRUCTIONS: u64 = 1 << 28;

/// The time that a VNF has waited for the other side.
#[derive(Debug)]
pub struct Patience {
    limit: u64,
    since: Option<u64>,
}

impl Vnf {
    /// Returns patience with the other side.
    pub fn patience(&self) -> Patience {
        Patience::new()
    }
}

impl Patience {
    pub(crate) fn new() -> Self {
        let limit = if clock::counter() == Counter::Instructions { INSTRUCTIONS } else { CYCLES };
        Self { limit, since: None }
    }

    /// Starts anew, as something came.
    pub fn renew(&mut self) {
        self.since = None;
    }

    /// Gives the CPU away for a turn.
    ///
    /// # Errors
    /// [`Error::Silence`] after a few seconds of turns since [`Patience::renew`].
    pub fn wait(&mut self, _: &Vnf) -> Result<(), Error> {
        self.turn()
    }

    pub(crate) fn turn(&mut self) -> Result<(), Error> {
        yield_now();
        let now = clock::now();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) > self.limit { Err(Error::Silence) } else { Ok(()) }
    }
}
