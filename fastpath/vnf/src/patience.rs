//! Waiting, but not for ever.

use crate::clock::{self, Counter};
use crate::{Error, Vnf};

/// Ticks without progress after which a VNF gives up: a few seconds, of a clock or of an emulator.
const CYCLES: u64 = 1 << 35;
const INSTRUCTIONS: u64 = 1 << 28;

/// How long a VNF has waited for something that should come.
#[derive(Debug)]
pub struct Patience {
    limit: u64,
    since: Option<u64>,
}

impl Vnf {
    /// Patience with the other side.
    pub fn patience(&self) -> Patience {
        let limit = if clock::counter() == Counter::Instructions { INSTRUCTIONS } else { CYCLES };
        Patience { limit, since: None }
    }
}

impl Patience {
    /// Something came.
    pub fn renew(&mut self) {
        self.since = None;
    }

    /// Gives the CPU away, until so many turns brought nothing that the other side must be gone.
    pub fn wait(&mut self, vnf: &Vnf) -> Result<(), Error> {
        vnf.yield_now();
        let now = clock::now();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) > self.limit { Err(Error::Silence) } else { Ok(()) }
    }
}
